import { UnderstudyError } from '../errors.js';
import type { IscsiSession } from './iscsi-session.js';
import { epochOf, type KeyOwner, keyText } from './reservation-key.js';
import type { AttachSpec } from './types.js';

/**
 * Who is never thrown out: a later owner, and whoever is none of ours.
 *
 * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH, US_STORAGE_RESERVED
 */
export function refuseForeign(
  session: Pick<IscsiSession, 'target'>,
  order: KeyOwner & { readonly lun: number },
  keys: readonly bigint[],
): void {
  for (const key of keys) {
    const epoch = epochOf(key, order.cluster);
    const object = `LUN ${order.lun} of ${session.target} for epoch ${order.epoch} on ${order.host}`;
    if (epoch === undefined) {
      throw new UnderstudyError({
        code: 'US_STORAGE_RESERVED',
        action: 'cannot reserve',
        object,
        cause: `key ${keyText(key)} is registered, which is not of cluster ${order.cluster}`,
        remedy: 'see who uses the LUN (understudy reservation show); clear it if it is nobody',
      });
    }
    if (epoch > order.epoch) {
      throw new UnderstudyError({
        code: 'US_STORAGE_STALE_EPOCH',
        action: 'cannot reserve',
        object,
        cause: `epoch ${epoch} is registered (${keyText(key)})`,
        remedy:
          'nothing, if the order was late; understudy reservation clear if another personality had the LUN before',
      });
    }
  }
}

/** Write exclusive, of all kinds (SPC-4 6.15.3.4): everybody may read. */
const writeExclusive: readonly number[] = [1, 5, 7];

/**
 * For a volume that the mask fences. A reservation that stands on it is somebody else's: of a cluster or a
 * person that nobody here knows of. Told here, and not by a write of the file system's.
 *
 * @throws {UnderstudyError} US_STORAGE_RESERVED
 */
export async function assertUnreserved(
  session: Pick<IscsiSession, 'target' | 'reservationHolder'>,
  spec: Pick<AttachSpec, 'targetLun' | 'access'>,
  signal: AbortSignal,
): Promise<void> {
  const { targetLun: lun, access } = spec;
  const holder = await session.reservationHolder(lun, signal);
  if (holder === undefined) return;
  if (access === 'read-only' && writeExclusive.includes(holder.type)) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_RESERVED',
    action: 'cannot use',
    object: `LUN ${lun} of ${session.target}`,
    cause: `key ${keyText(holder.key)} holds a reservation on it (type ${holder.type})`,
    remedy:
      'see who uses the LUN (understudy reservation show); if it is nobody, understudy reservation clear',
  });
}

export function cannotReserve(
  session: Pick<IscsiSession, 'target'>,
  lun: number,
  cause: string,
  remedy: string,
): UnderstudyError {
  const what = { action: 'cannot reserve', object: `LUN ${lun} of ${session.target}` };
  return new UnderstudyError({ code: 'US_STORAGE_RESERVATION', ...what, cause, remedy });
}
