import { UnderstudyError } from '../errors.js';
import type { IscsiSession } from './iscsi-session.js';
import { type KeyOwner, keyText, reservationKey } from './reservation-key.js';
import { cannotReserve, refuseForeign } from './reservation-refusals.js';
import type { PersistentReservation, Registrant, ReservationType } from './scsi.js';

/**
 * The fence by SCSI-3 persistent reservations (SPC-4 5.13), for targets that have them. The target itself
 * refuses whoever is not registered, also what he had queued.
 *
 * Who is registered is an I_T nexus: a session's initiator name *and* ISID. A data path in a process of
 * its own is another nexus than the session that asks here. So either the session is the data path, or
 * the target registers every session of a name on our word (SPEC_I_PT without an ISID), and tells that
 * it did (READ FULL STATUS). A target that does neither cannot be fenced so: take its mask.
 *
 * To register is to be let in, and no target compares anything when somebody registers. So who registers a
 * data path has none yet: a host that was stopped between looking and registering then lets in nobody.
 */
export interface ReservationOrder extends KeyOwner {
  readonly lun: number;
  /**
   * Set when other sessions carry the data: their initiator name, which is not this session's. (To LIO
   * a session of the holder's own name with another ISID is never registered: target_core_pr.c,
   * target_scsi3_pr_reservation_check.)
   */
  readonly dataPath?: string | undefined;
  /** Set when the session itself carries the data: earlier owners' writes have to end with them. */
  readonly mustAbort?: boolean | undefined;
}

/** What carries questions and orders: a session of libiscsi, or the data path itself. */
export type ReservationSession = Pick<
  IscsiSession,
  | 'target'
  | 'persistentReserve'
  | 'reservationsMayPersist'
  | 'reservationKeys'
  | 'reservationHolder'
  | 'registrants'
>;

export interface ReservationReport {
  readonly key: bigint;
  /** Keys of earlier owners that were thrown out. */
  readonly preempted: readonly bigint[];
  /** Whether the target ended their commands by PREEMPT AND ABORT, not only refuses new ones. */
  readonly aborted: boolean;
}

/** Write exclusive, registrants only: others may read, as the looking at a LUN does. */
const type: ReservationType = 5;

/** One owner's questions and orders. */
interface Asking {
  readonly session: ReservationSession;
  readonly order: ReservationOrder;
  readonly key: bigint;
  readonly signal: AbortSignal | undefined;
  /** Said with each registration: the newest counts for all (SPC-4 5.13.5). */
  readonly persists: boolean;
}

async function registering(
  session: ReservationSession,
  order: ReservationOrder,
  signal: AbortSignal | undefined,
): Promise<Asking> {
  const persists = await session.reservationsMayPersist(order.lun, signal);
  return { ...asking(session, order, signal), persists };
}

function asking(
  session: ReservationSession,
  order: ReservationOrder,
  signal: AbortSignal | undefined,
): Asking {
  return { session, order, key: reservationKey(order), signal, persists: false };
}

/**
 * Registers, throws out every earlier owner, holds the reservation, and reads back that it is so.
 * Idempotent for the same owner; also after the target forgot everything.
 *
 * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH a later epoch is registered; US_STORAGE_RESERVED
 * somebody else's key is, which is never thrown out; US_STORAGE_RESERVATION; US_STORAGE_UNREACHABLE
 */
export async function takeReservation(
  session: ReservationSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<ReservationReport> {
  const ask = await registering(session, order, signal);
  const { key } = ask;
  refuseForeign(session, order, await keysOf(ask));
  await register(ask);
  const { report, holder } = await expel(ask);
  if ((await holderOf(ask)) === undefined) {
    await send(ask, { action: 'reserve', key, serviceActionKey: 0n });
  }
  const found = await deviation(ask);
  if (found !== undefined) {
    throw cannotReserve(
      session,
      order.lun,
      found,
      'see who else reserves this LUN (understudy reservation show)',
    );
  }
  // Who asked for this epoch before holds it: one more registration is of no use, unless this one writes.
  if (holder === key && order.dataPath !== undefined) await unregister(ask);
  return report;
}

/** How a reservation that was taken stands now. */
export type Standing =
  | 'held'
  /** Held; somebody else is registered as well, who may write. */
  | 'crowded'
  /** The target lets this owner's data path write no more, or lets everybody. */
  | 'lost';

export async function standingOf(
  session: ReservationSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<Standing> {
  const ask = asking(session, order, signal);
  const keys = await keysOf(ask);
  const holder = await holderOf(ask);
  if (holder?.key !== ask.key || holder.type !== type || !keys.includes(ask.key)) return 'lost';
  if (!(await coversDataPath(ask))) return 'lost';
  return keys.every((other) => other === ask.key) ? 'held' : 'crowded';
}

/** Whether the data path is registered with this owner's key, whoever holds the reservation. */
export async function isRegistered(
  session: ReservationSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<boolean> {
  return coversDataPath(asking(session, order, signal));
}

/**
 * Throws out earlier owners that registered again, while this one's data path goes on. Registers this
 * session and no other, for as long as that takes.
 *
 * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH, US_STORAGE_RESERVED
 */
export async function expelEarlier(
  session: ReservationSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<ReservationReport> {
  const ask = await registering(session, order, signal);
  await send(ask, { action: 'register-and-ignore', key: 0n, serviceActionKey: ask.key });
  const { report } = await expel(ask);
  await unregister(ask);
  return report;
}

/** Whether the reservation is this owner's and nobody else is registered. */
export async function holdsReservation(
  session: ReservationSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<boolean> {
  return (await deviation(asking(session, order, signal))) === undefined;
}

/**
 * Lets go of everything, in order: then anybody may write. Nothing to do for who is not registered. By
 * the session that took it; where that is gone it stays, and the next owner throws it out.
 */
export async function clearReservation(
  session: ReservationSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<void> {
  const ask = asking(session, order, signal);
  if (!(await keysOf(ask)).includes(ask.key)) return;
  await send(ask, { action: 'clear', key: ask.key, serviceActionKey: 0n });
}

/** Registers this session, and the data path; or neither. */
async function register(ask: Asking): Promise<void> {
  try {
    await registerBoth(ask);
  } catch (thrown) {
    // LIO may say that it failed, and have done it. Nobody was thrown out yet.
    await unregister(ask).catch(() => {});
    throw thrown;
  }
}

async function registerBoth(ask: Asking): Promise<void> {
  const { session, order, key, signal } = ask;
  await send(ask, { action: 'register-and-ignore', key: 0n, serviceActionKey: key });
  if (order.dataPath === undefined) return;
  const registrants = await session.registrants(order.lun, signal);
  if (covers(registrants, ask)) return;
  await unregister(ask);
  if (registrants !== undefined) {
    // SPEC_I_PT goes with REGISTER alone, and only while the session itself is not registered (SPC-4 6.16.3).
    const both = { action: 'register', key: 0n, serviceActionKey: key } as const;
    await send(ask, { ...both, registersToo: order.dataPath }).catch((thrown: unknown) => {
      if (!refused(thrown)) throw thrown;
    });
    if (await coversDataPath(ask)) return;
  }
  throw cannotReserve(
    session,
    order.lun,
    `the target registers single sessions, and the data path of ${order.dataPath} is another one`,
    'fence by the mask of the target (understudy target); on LIO: set enforce_pr_isids of the backstore to 0',
  );
}

async function unregister(ask: Asking): Promise<void> {
  await send(ask, { action: 'register-and-ignore', key: 0n, serviceActionKey: 0n });
}

/** For who is registered. Lets go of its own registration where it may not stay. */
async function expel(
  ask: Asking,
): Promise<{ report: ReservationReport; holder: bigint | undefined }> {
  const { session, order, key } = ask;
  const keys = await keysOf(ask);
  try {
    refuseForeign(session, order, keys);
  } catch (thrown) {
    await unregister(ask);
    throw thrown;
  }
  const earlier = [...new Set(keys)].filter((other) => other !== key);
  const holder = (await holderOf(ask))?.key;
  let aborted = true;
  // The holder first: with him goes the reservation.
  for (const other of earlier.sort((a, b) => Number(b === holder) - Number(a === holder))) {
    aborted = (await preempt(ask, other)) && aborted;
  }
  return { report: { key, preempted: earlier, aborted }, holder };
}

/** @returns whether the target also aborts what was under way */
async function preempt(ask: Asking, other: bigint): Promise<boolean> {
  const { session, order, key } = ask;
  const out = { key, serviceActionKey: other } as const;
  try {
    await send(ask, { ...out, action: 'preempt-and-abort' });
    return true;
  } catch (thrown) {
    if (!refused(thrown)) throw thrown;
    // A data path may have writes in the target's queue, which would land after this owner has read.
    if (order.dataPath !== undefined || order.mustAbort === true) {
      await unregister(ask);
      const why = `the target has no PREEMPT AND ABORT: ${keyText(other)} stays registered`;
      throw cannotReserve(session, order.lun, why, 'fence by the mask of the target');
    }
  }
  // tgt 1.0.85: ILLEGAL REQUEST.
  await send(ask, { ...out, action: 'preempt' });
  return false;
}

async function send(
  { session, order, signal, persists }: Asking,
  what: Omit<PersistentReservation, 'type' | 'persists'>,
): Promise<void> {
  await session.persistentReserve(order.lun, { ...what, type, persists }, signal);
}

async function keysOf({ session, order, signal }: Asking): Promise<readonly bigint[]> {
  return (await session.reservationKeys(order.lun, signal)).keys;
}

function holderOf({ session, order, signal }: Asking) {
  return session.reservationHolder(order.lun, signal);
}

async function coversDataPath(ask: Asking): Promise<boolean> {
  const { session, order, signal } = ask;
  if (order.dataPath === undefined) return true;
  return covers(await session.registrants(order.lun, signal), ask);
}

function covers(registrants: readonly Registrant[] | undefined, { order, key }: Asking): boolean {
  return (registrants ?? []).some(
    (one) => one.key === key && one.initiator === order.dataPath && one.isid === undefined,
  );
}

function refused(thrown: unknown): boolean {
  return thrown instanceof UnderstudyError && thrown.code === 'US_STORAGE_COMMAND';
}

async function deviation(ask: Asking): Promise<string | undefined> {
  const { key } = ask;
  const keys = await keysOf(ask);
  const others = keys.filter((other) => other !== key);
  if (others.length > 0) return `${others.map(keyText).join(', ')} is registered, too`;
  if (keys.length === 0) return 'nobody is registered';
  const holder = await holderOf(ask);
  if (holder === undefined) return 'nobody holds it';
  if (holder.key !== key) return `${keyText(holder.key)} holds it`;
  return holder.type === type ? undefined : `it is of type ${holder.type}`;
}
