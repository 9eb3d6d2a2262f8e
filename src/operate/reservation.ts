import type { ClusterConfig, VolumeConfig } from '../config/types.js';
import { configOf, incarnationId, type View } from '../control/view.js';
import { volumeUse } from '../control/volume-use.js';
import { isShutOut } from '../control/votes.js';
import { UnderstudyError } from '../errors.js';
import { epochOf, hostOf, keyText } from '../storage/reservation-key.js';

/** Whose reservations of a volume are, and whether they may be cleared. Pure. */

/** @throws US_RESERVATION_VOLUME */
export function volumeToClear(view: View, name: string): VolumeConfig {
  const volumes = configOf(view)?.volumes ?? [];
  const found = volumes.find((volume) => volume.name === name);
  if (found !== undefined) return found;
  throw new UnderstudyError({
    code: 'US_RESERVATION_VOLUME',
    action: 'cannot find',
    object: `volume ${name}`,
    cause: `the cluster’s definition has ${volumes.map((volume) => volume.name).join(', ') || 'no volume'}`,
    remedy: 'name one of these, or say where it is: --portal, --target and --lun',
  });
}

/** Whose a key is, as far as it tells. */
export interface KeyOwnerFound {
  /** Undefined: not of this cluster. */
  readonly epoch: number | undefined;
  /** Undefined: of no host that the file names now. */
  readonly host: string | undefined;
}

export function keyOwner(key: bigint, config: ClusterConfig | undefined): KeyOwnerFound {
  const epoch = config === undefined ? undefined : epochOf(key, config.cluster);
  if (config === undefined || epoch === undefined) return { epoch: undefined, host: undefined };
  const names = config.hosts.map(({ name }) => name);
  return { epoch, host: hostOf(key, names) };
}

/** Of one, in words. */
export function ownerText({ epoch, host }: KeyOwnerFound, cluster: string | undefined): string {
  if (cluster === undefined) return 'not known';
  if (epoch === undefined) return `not of cluster ${cluster}`;
  return `epoch ${epoch} of ${host ?? 'a host that the file does not name'}`;
}

/** Why it would hurt to throw out these keys of a volume; empty: nothing speaks against it. */
export function objections(view: View, volume: string, keys: readonly bigint[]): readonly string[] {
  const config = configOf(view);
  return [...volumeUse(view, volume), ...keys.flatMap((key) => doubts(view, config, key))];
}

/** Who was stopped once and goes on would write what it had queued. */
function doubts(view: View, config: ClusterConfig | undefined, key: bigint): readonly string[] {
  const { epoch, host } = keyOwner(key, config);
  const text = keyText(key);
  if (epoch === undefined) return [`${text} is not of this cluster`];
  if (host === undefined) return [`${text} is of a host that the file does not name`];
  const incarnation = view.hosts.get(host)?.value.incarnation;
  if (incarnation === undefined) return [`${text} is of ${host}, of which nothing is known`];
  const isOff = view.fenced.has(incarnationId(host, incarnation));
  if (isOff || !isShutOut(view, host, incarnation)) return [];
  return [`${text} is of ${host}, which is not heard and may go on`];
}

export function refusedToClear(object: string, why: readonly string[]): UnderstudyError {
  return new UnderstudyError({
    code: 'US_RESERVATION_REFUSED',
    action: 'cannot clear the reservation of',
    object,
    cause: why.join('; '),
    remedy:
      'see that no host that ever had it can write any more; then the same again with --yes (understudy reservation clear --help)',
  });
}
