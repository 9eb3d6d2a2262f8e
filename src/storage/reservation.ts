import { UnderstudyError } from '../errors.js';
import type { IscsiSession } from './iscsi-session.js';
import { epochOf, type KeyOwner, keyText, reservationKey } from './reservation-key.js';
import type { ReservationType } from './scsi.js';

/**
 * The fence by SCSI-3 persistent reservations (SPC-4 5.13), for targets that have them. The target itself
 * refuses whoever is not registered, also what he had queued.
 *
 * Who is registered is an I_T nexus: a session's initiator name *and* ISID. A data path in a process of
 * its own is another nexus than the session that asks here. So either the session is the data path, or
 * the target registers every session of a name on our word (SPEC_I_PT without an ISID), and tells that
 * it did (READ FULL STATUS). A target that does neither cannot be fenced so: take its mask.
 */
export interface ReservationOrder extends KeyOwner {
  readonly lun: number;
  /**
   * Set when other sessions carry the data: their initiator name, which is not this session's. (To LIO
   * a session of the holder's own name with another ISID is never registered: target_core_pr.c,
   * target_scsi3_pr_reservation_check.)
   */
  readonly dataPath?: string | undefined;
}

export interface ReservationReport {
  readonly key: bigint;
  /** Keys of earlier owners that were thrown out. */
  readonly preempted: readonly bigint[];
  /** Whether the target ended their commands by PREEMPT AND ABORT, not only refuses new ones. */
  readonly aborted: boolean;
}

/** Write exclusive, registrants only: others may read, as the looking at a LUN does. */
const type: ReservationType = 5;

/**
 * Registers, throws out every earlier owner, holds the reservation, and reads back that it is so.
 * Idempotent for the same owner; also after the target forgot everything.
 *
 * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH a later epoch is registered; US_STORAGE_RESERVED
 * somebody else's key is, which is never thrown out; US_STORAGE_RESERVATION; US_STORAGE_UNREACHABLE
 */
export async function takeReservation(
  session: IscsiSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<ReservationReport> {
  const { lun } = order;
  const key = reservationKey(order);
  refuseForeign(session, order, (await session.reservationKeys(lun, signal)).keys);
  await register(session, order, key, signal);
  const { keys } = await session.reservationKeys(lun, signal);
  refuseForeign(session, order, keys);
  const earlier = [...new Set(keys)].filter((other) => other !== key);
  const holder = await session.reservationHolder(lun, signal);
  let aborted = true;
  // The holder first: with him goes the reservation.
  for (const other of earlier.sort(
    (a, b) => Number(b === holder?.key) - Number(a === holder?.key),
  )) {
    aborted = (await preempt(session, lun, key, other, signal)) && aborted;
  }
  if ((await session.reservationHolder(lun, signal)) === undefined) {
    const reserve = { action: 'reserve', type, key, serviceActionKey: 0n } as const;
    await session.persistentReserve(lun, reserve, signal);
  }
  await verify(session, order, key, signal);
  return { key, preempted: earlier, aborted };
}

/** Whether the reservation is this owner's and nobody else is registered. */
export async function holdsReservation(
  session: IscsiSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<boolean> {
  return (await deviation(session, order.lun, reservationKey(order), signal)) === undefined;
}

/**
 * Lets go of everything, in order: then anybody may write. Nothing to do for who is not registered. By
 * the session that took it; where that is gone it stays, and the next owner throws it out.
 */
export async function clearReservation(
  session: IscsiSession,
  order: ReservationOrder,
  signal?: AbortSignal,
): Promise<void> {
  const key = reservationKey(order);
  const { keys } = await session.reservationKeys(order.lun, signal);
  if (!keys.includes(key)) return;
  const clear = { action: 'clear', type, key, serviceActionKey: 0n } as const;
  await session.persistentReserve(order.lun, clear, signal);
}

async function register(
  session: IscsiSession,
  { lun, dataPath }: ReservationOrder,
  key: bigint,
  signal: AbortSignal | undefined,
): Promise<void> {
  const own = { action: 'register-and-ignore', type, key: 0n, serviceActionKey: key } as const;
  await session.persistentReserve(lun, own, signal);
  if (dataPath === undefined) return;
  const covered = (registrants: Awaited<ReturnType<IscsiSession['registrants']>>) =>
    registrants?.some(
      (one) => one.key === key && one.initiator === dataPath && one.isid === undefined,
    );
  const registrants = await session.registrants(lun, signal);
  if (covered(registrants)) return;
  // Nobody was thrown out yet.
  await session.persistentReserve(lun, { ...own, serviceActionKey: 0n }, signal);
  if (registrants !== undefined) {
    // SPEC_I_PT goes with REGISTER alone, and only while the session itself is not registered (SPC-4 6.16.3).
    const both = { ...own, action: 'register', registersToo: dataPath } as const;
    await session.persistentReserve(lun, both, signal).catch((thrown: unknown) => {
      if (!refused(thrown)) throw thrown;
    });
    if (covered(await session.registrants(lun, signal))) return;
  }
  throw failure(
    session,
    lun,
    `the target registers single sessions, and the data path of ${dataPath} is another one`,
    'fence by the mask of the target (understudy target); on LIO: set enforce_pr_isids of the backstore to 0',
  );
}

/** @returns whether the target also aborts what was under way */
async function preempt(
  session: IscsiSession,
  lun: number,
  key: bigint,
  other: bigint,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const order = { action: 'preempt-and-abort', type, key, serviceActionKey: other } as const;
  try {
    await session.persistentReserve(lun, order, signal);
    return true;
  } catch (thrown) {
    // tgt 1.0.85 has no PREEMPT AND ABORT: ILLEGAL REQUEST.
    if (!refused(thrown)) throw thrown;
  }
  await session.persistentReserve(lun, { ...order, action: 'preempt' }, signal);
  return false;
}

function refused(thrown: unknown): boolean {
  return thrown instanceof UnderstudyError && thrown.code === 'US_STORAGE_COMMAND';
}

function refuseForeign(
  session: IscsiSession,
  order: ReservationOrder,
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
        remedy: 'see who uses the LUN (sg_persist -i -k); clear it by hand if it is nobody',
      });
    }
    if (epoch > order.epoch) {
      throw new UnderstudyError({
        code: 'US_STORAGE_STALE_EPOCH',
        action: 'cannot reserve',
        object,
        cause: `epoch ${epoch} is registered (${keyText(key)})`,
        remedy: 'nothing: the order was late',
      });
    }
  }
}

async function verify(
  session: IscsiSession,
  { lun }: ReservationOrder,
  key: bigint,
  signal: AbortSignal | undefined,
): Promise<void> {
  const found = await deviation(session, lun, key, signal);
  if (found === undefined) return;
  throw failure(session, lun, found, 'see what else reserves this LUN (sg_persist -i -k, -i -r)');
}

async function deviation(
  session: IscsiSession,
  lun: number,
  key: bigint,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const { keys } = await session.reservationKeys(lun, signal);
  const others = keys.filter((other) => other !== key);
  if (others.length > 0) return `${others.map(keyText).join(', ')} is registered, too`;
  if (keys.length === 0) return 'nobody is registered';
  const holder = await session.reservationHolder(lun, signal);
  if (holder === undefined) return 'nobody holds it';
  if (holder.key !== key) return `${keyText(holder.key)} holds it`;
  return holder.type === type ? undefined : `it is of type ${holder.type}`;
}

function failure(
  session: IscsiSession,
  lun: number,
  cause: string,
  remedy: string,
): UnderstudyError {
  const what = { action: 'cannot reserve', object: `LUN ${lun} of ${session.target}` };
  return new UnderstudyError({ code: 'US_STORAGE_RESERVATION', ...what, cause, remedy });
}
