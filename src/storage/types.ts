import type { UnderstudyError } from '../errors.js';
import type { ChapAccount } from './chap.js';

/** A volume as one personality on one host attaches it. */
export interface AttachSpec {
  readonly cluster: string;
  readonly personality: string;
  readonly host: string;
  readonly epoch: number;
  /** Virtual LUN number. */
  readonly lun: number;
  readonly volume: string;
  readonly portals: readonly string[];
  readonly target: string;
  readonly targetLun: number;
  /** none: the block device itself is handed on, whatever it holds. */
  readonly filesystem: 'ext4' | 'xfs' | 'none';
  readonly format: 'never' | 'if-blank';
  /** Default read-write. Read-only: nothing of the LUN is written, on no way. */
  readonly access?: 'read-write' | 'read-only' | undefined;
  readonly chap?: ChapAccount | undefined;
  /** What keeps earlier owners out. Default mask. */
  readonly fence?: 'mask' | 'reservation' | undefined;
  /** Serial recorded at first attach; undefined the first time. A different one is refused. */
  readonly recordedSerial: string | undefined;
}

export interface AttachedVolume {
  readonly personality: string;
  readonly lun: number;
  readonly volume: string;
  readonly epoch: number;
  /** /dev/loopN or the kernel's disk. */
  readonly device: string;
  /** Where it is mounted on the host, or the device node appears: /run/understudy/<personality>/<lun>. */
  readonly hostMount: string;
  readonly serial: string;
  readonly sizeBytes: number;
}

/** A volume that is this owner's by a persistent reservation. Keys as sg_persist shows them. */
export interface Reserved {
  readonly key: string;
  /** Keys of earlier owners that were thrown out just now. */
  readonly preempted: readonly string[];
}

export interface StorageAdapter {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Prepares what may be prepared before the fence (no byte of the volume is read). */
  warm(spec: AttachSpec, signal: AbortSignal): Promise<void>;
  /**
   * Takes the volume by a persistent reservation, for `fence: reservation`: when it returns, the target
   * refuses the writes of every earlier owner, and has ended those under way. Reads nothing of the
   * volume. Idempotent; where the target has forgotten an attached volume's reservation, its data path is
   * ended first, and `attach` makes a new one.
   */
  fence(spec: AttachSpec, signal: AbortSignal): Promise<Reserved>;
  /**
   * Discovery, inquiry, capacity, serial; data path; block device; mkfs only on a blank LUN and
   * only if asked; mount. Call only after the fence. Idempotent for the same epoch.
   */
  attach(spec: AttachSpec, signal: AbortSignal): Promise<AttachedVolume>;
  /** Writes back what is dirty, in use as it is, so that there is little left to write at the detach. */
  flush(personality: string, lun: number, signal: AbortSignal): Promise<void>;
  /** Orderly: unmount, flush, log out. Reports what could not be undone. */
  detach(personality: string, lun: number, signal: AbortSignal): Promise<void>;
  /** The epoch is lost: abort the data path first, then unmount what can no longer write. */
  abort(personality: string, lun: number, signal: AbortSignal): Promise<void>;
  /** What of ours is attached on this host, also from before an agent restart. */
  observe(signal: AbortSignal): Promise<readonly AttachedVolume[]>;
  /** Why nothing comes through to a volume whose portals answer, where the backend can tell. Asks nobody. */
  trouble?(personality: string, lun: number): UnderstudyError | undefined;
}

/**
 * `iqn.2026-11.io.understudy:<cluster>.<personality>.<host>`: never shared by two hosts. With `epoch`,
 * `.e<epoch>` follows, so that a mask that lets in one epoch keeps out the same host's older ones:
 * a data path left over from epoch 1, which reconnects for ever, must not get in again when the
 * personality comes back to its host with epoch 3. Masks that are set once by hand leave it out.
 */
export function initiatorName(
  cluster: string,
  personality: string,
  host: string,
  epoch?: number,
): string {
  const name = `${initiatorPrefix(cluster)}${personality}.${host}`;
  return epoch === undefined ? name : `${name}.e${epoch}`;
}

/** What the name of every initiator of a cluster begins with, and nobody else's. */
export const initiatorPrefix = (cluster: string): string => `${namingAuthority}${cluster}.`;

const namingAuthority = 'iqn.2026-11.io.understudy:';

/** Whether an initiator's name is one of this program's, of whatever cluster. */
export function isOwnName(initiator: string): boolean {
  return initiator.startsWith(namingAuthority);
}

/** The host, with its cluster, in a name that `initiatorName` made; undefined: it is no such name. Pure. */
export function hostOfInitiator(initiator: string): string | undefined {
  if (!isOwnName(initiator)) return undefined;
  const [cluster, , host] = initiator.slice(namingAuthority.length).split('.');
  return host === undefined ? undefined : `${cluster}.${host}`;
}

/** The storage side of the fence, run by understudy-target beside an iSCSI target. */
export interface MaskOrder {
  readonly target: string;
  /** The LUNs of it that are meant; tgt, whose list is by target, lets in to all. */
  readonly luns?: readonly number[];
  readonly epoch: number;
  /** The only initiator that may log in; undefined: nobody. */
  readonly initiator: string | undefined;
  /** Epochs are counted for each personality; '' for a target that belongs to none. */
  readonly personality?: string;
  /** Generation of the configuration that gives the target to this personality. */
  readonly generation?: number;
}

export interface MaskAdapter {
  /**
   * Takes every other initiator off, ends their connections and waits for what is under way on
   * them, lets in the new one; verified by reading back. Refuses (US_STORAGE_STALE_EPOCH) an epoch
   * older than the last one applied.
   */
  apply(order: MaskOrder, signal: AbortSignal): Promise<void>;
}
