import { UnderstudyError } from '../errors.js';
import { type Layout, listVolumes, type VolumeId } from './state.js';
import type { AttachSpec } from './types.js';

/** What tells whose a LUN is on this host. */
interface OtherVolume extends VolumeId {
  readonly volume: string;
  readonly serial: string;
  readonly portal: string;
}

/** What else is attached here. Read while the target is asked, so that nobody waits for it. */
export async function othersHere<T>(
  layout: Layout,
  spec: VolumeId,
  read: (layout: Layout, id: VolumeId) => Promise<T | undefined>,
): Promise<readonly T[]> {
  const ids = (await listVolumes(layout)).filter(
    ({ personality, lun }) => personality !== spec.personality || lun !== spec.lun,
  );
  const states = await Promise.all(ids.map((id) => read(layout, id)));
  return states.filter((state) => state !== undefined);
}

/**
 * One LUN under two names would have two writers on this host, and masks cannot tell them apart.
 *
 * @throws {UnderstudyError} US_STORAGE_ELSEWHERE
 */
export function refuseTwice(
  others: readonly OtherVolume[],
  spec: AttachSpec,
  serial: string,
): void {
  // Serials are told apart by one target host: tgt numbers its LUNs alike on every machine.
  const other = others.find((one) => one.serial === serial && spec.portals.includes(one.portal));
  if (other === undefined) return;
  throw elsewhere(
    spec,
    `LUN ${spec.targetLun} of ${spec.target} has serial ${serial}, and so has ${other.volume}, which is LUN ${other.lun} of ${other.personality} here`,
    'give each volume a LUN of its own; two LUNs need two serials on the target',
  );
}

export function elsewhere(spec: AttachSpec, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_ELSEWHERE',
    action: 'cannot attach volume',
    object: `${spec.volume} to ${spec.personality} on ${spec.host}`,
    cause,
    remedy,
  });
}
