import { randomBytes } from 'node:crypto';
import { UnderstudyError } from '../errors.js';
import type { IscsiSession } from './iscsi-session.js';
import { keyText } from './reservation-key.js';
import { cannotReserve } from './reservation-refusals.js';
import type { PersistentReservation, ReservationType } from './scsi.js';

/** Seeing and clearing reservations that nobody takes over any more: for a person, never for an owner. */

export interface Registration {
  readonly key: bigint;
  /** Names that are registered with it; undefined on a target that does not tell (READ FULL STATUS). */
  readonly initiators: readonly string[] | undefined;
}

export interface StandingReservation {
  readonly registrations: readonly Registration[];
  readonly holder: { readonly key: bigint; readonly type: number } | undefined;
}

/** Each key once, in the target's order. Changes nothing. */
export async function lookAtReservation(
  session: IscsiSession,
  lun: number,
  signal?: AbortSignal,
): Promise<StandingReservation> {
  const { keys } = await session.reservationKeys(lun, signal);
  const registrants = await session.registrants(lun, signal);
  const holder = await session.reservationHolder(lun, signal);
  const registrations = [...new Set(keys)].map((key) => ({
    key,
    initiators: registrants?.filter((one) => one.key === key).map(({ initiator }) => initiator),
  }));
  return { registrations, holder };
}

/**
 * Throws out these keys and no other, and leaves nothing behind. Not CLEAR, which would take with it
 * whoever has registered since the person looked. Goes on where an earlier try was cut short.
 *
 * @returns the keys of `keys` that were registered
 * @throws {UnderstudyError} US_STORAGE_RESERVATION when one of them stays; US_STORAGE_UNREACHABLE
 */
export async function removeRegistrations(
  session: IscsiSession,
  lun: number,
  keys: readonly bigint[],
  signal?: AbortSignal,
): Promise<readonly bigint[]> {
  const before = await lookAtReservation(session, lun, signal);
  const found = before.registrations.map(({ key }) => key).filter((key) => keys.includes(key));
  if (found.length === 0) return [];
  // What a target compares (SPC-4 5.13.11.2.3): a type of PREEMPT counts only where the holder is thrown out.
  const type = (before.holder?.type ?? 5) as ReservationType;
  const own = randomBytes(8).readBigUInt64BE() | 1n;
  // The newest registration says for all whether they outlive a loss of power: who stays must not lose that.
  const persists = await session.reservationsMayPersist(lun, signal);
  const send = (what: Order) => session.persistentReserve(lun, { ...what, type, persists }, signal);
  await send({ action: 'register-and-ignore', key: 0n, serviceActionKey: own });
  try {
    for (const key of holderFirst(found, before.holder?.key)) await preempt(send, own, key);
  } finally {
    // With the last registration, or the holder's, goes the reservation.
    await send({ action: 'register-and-ignore', key: 0n, serviceActionKey: 0n });
  }
  const after = await lookAtReservation(session, lun, signal);
  const left = after.registrations.filter(({ key }) => found.includes(key) || key === own);
  if (left.length === 0) return found;
  const cause = `${left.map(({ key }) => keyText(key)).join(', ')} is registered still, or again`;
  throw cannotReserve(session, lun, cause, 'see that its host is off or detached, then try again');
}

type Order = Omit<PersistentReservation, 'type' | 'persists'>;
type Send = (what: Order) => Promise<void>;

async function preempt(send: Send, own: bigint, key: bigint): Promise<void> {
  const out = { key: own, serviceActionKey: key } as const;
  try {
    await send({ ...out, action: 'preempt-and-abort' });
  } catch (thrown) {
    // Gone meanwhile (SPC-4 5.13.11.2.1: reservation conflict); what stays is found afterwards.
    if (codeOf(thrown) === 'US_STORAGE_RESERVED') return;
    // tgt 1.0.85 has PREEMPT alone: ILLEGAL REQUEST.
    if (codeOf(thrown) !== 'US_STORAGE_COMMAND') throw thrown;
    await send({ ...out, action: 'preempt' });
  }
}

function holderFirst(keys: readonly bigint[], holder: bigint | undefined): readonly bigint[] {
  return [...keys].sort((a, b) => Number(b === holder) - Number(a === holder));
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof UnderstudyError ? thrown.code : undefined;
}
