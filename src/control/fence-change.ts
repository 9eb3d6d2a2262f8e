import type { ClusterConfig, VolumeConfig } from '../config/types.js';
import type { Refusal } from './controllers-apply.js';
import { configOf, type View } from './view.js';
import { volumeUse } from './volume-use.js';

/** A LUN that the new definition fences in another way than the one that stands. */
export interface FenceChange {
  readonly before: VolumeConfig;
  readonly after: VolumeConfig;
  /** In the new definition's `volumes`. */
  readonly index: number;
}

/** By LUN, not by name: the data is what two fences must not be around. */
export function fenceChanges(
  old: ClusterConfig | undefined,
  young: ClusterConfig,
): readonly FenceChange[] {
  return young.volumes.flatMap((after, index) => {
    const before = old?.volumes.find((one) => one.target === after.target && one.lun === after.lun);
    if (before === undefined || fenceOf(before) === fenceOf(after)) return [];
    return [{ before, after, index }];
  });
}

export const fenceOf = ({ fence }: VolumeConfig): 'mask' | 'reservation' => fence ?? 'mask';

/**
 * A takeover throws out the owner before by the fence that the file names *then*: a reservation ends the
 * writes under way of who was registered, a mask those of who was let in. An owner of the other kind would
 * be missed by it, or would shut out the next one; so nobody may have the volume while that changes.
 */
export function changesFenceInUse(view: View, wanted: ClusterConfig): Refusal | undefined {
  for (const { before, after, index } of fenceChanges(configOf(view), wanted)) {
    const [use] = volumeUse(view, before.name);
    if (use === undefined) continue;
    const from = fenceOf(before);
    return {
      code: 'US_APPLY_REFUSED',
      cause: `volumes[${index}].fence: ${after.name} goes from ${from} to ${fenceOf(after)}, and ${use}`,
      remedy: `apply a file without its owner, or with the volume out of the owner's storage; wait until it is let go of${from === 'reservation' ? `, then understudy reservation clear ${before.name}` : ''}; then apply this`,
    };
  }
  return undefined;
}
