import { UnderstudyError } from '../errors.js';
import type { IscsiSession } from './iscsi-session.js';
import { epochOf, type KeyOwner, keyText } from './reservation-key.js';

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

export function cannotReserve(
  session: Pick<IscsiSession, 'target'>,
  lun: number,
  cause: string,
  remedy: string,
): UnderstudyError {
  const what = { action: 'cannot reserve', object: `LUN ${lun} of ${session.target}` };
  return new UnderstudyError({ code: 'US_STORAGE_RESERVATION', ...what, cause, remedy });
}
