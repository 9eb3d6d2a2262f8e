import { readChap } from './chap.js';
import { IscsiSession, type SessionLimits } from './iscsi-session.js';
import { assertDisk, assertIdentity } from './lun-identity.js';
import {
  expelEarlier,
  isRegistered,
  type ReservationOrder,
  type ReservationReport,
  standingOf,
  takeReservation,
} from './reservation.js';
import { keyText, reservationKey } from './reservation-key.js';
import { cannotReserve } from './reservation-refusals.js';
import { type AttachSpec, initiatorName, type Reserved } from './types.js';

/**
 * The fence of a volume by reservation, as a takeover uses it. Two sessions: one stands for the data path,
 * so that the target knows its name when that is registered; one of another name registers it.
 *
 * Registers the data path of this epoch, which must not be there yet, throws out all earlier owners, and
 * sees that it stays so. Reads nothing of the volume.
 *
 * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH, US_STORAGE_RESERVED, US_STORAGE_RESERVATION,
 * US_STORAGE_IDENTITY, US_STORAGE_LUN_NOT_FOUND, US_STORAGE_COMMAND and what a login may meet
 */
export async function fenceByReservation(
  spec: AttachSpec,
  signal: AbortSignal,
  limits?: SessionLimits,
): Promise<Reserved> {
  const order = reservationOrder(spec);
  const dataPath = await logIn(spec, order.dataPath, signal, limits);
  try {
    // First of all: nobody may be thrown out of a LUN that is not ours.
    await assertDisk(dataPath, spec, signal);
    await assertIdentity(dataPath, spec, signal);
    const asks = await logIn(spec, await freeName(dataPath, order, signal), signal, limits);
    // A target may forget a registration with the last session of its name: so it ends before it counts.
    const report = await takeReservation(asks, order, signal).finally(() => asks.close());
    if ((await standingOf(dataPath, order, signal)) === 'lost') {
      const why = 'it was gone when the session that took it had ended';
      throw cannotReserve(dataPath, order.lun, why, 'fence by the mask of the target');
    }
    return reserved(report);
  } finally {
    await dataPath.close();
  }
}

/**
 * Whether an attached volume is still this owner's. Throws out who has registered beside it.
 *
 * @returns undefined when it is lost: then its data path must end before the volume is fenced again
 */
export async function keepReservation(
  spec: AttachSpec,
  signal: AbortSignal,
  limits?: SessionLimits,
): Promise<Reserved | undefined> {
  const order = reservationOrder(spec);
  const looks = await logIn(spec, order.dataPath, signal, limits);
  try {
    const standing = await standingOf(looks, order, signal);
    if (standing === 'held') return held(order);
    if (standing === 'lost' && !(await isRegistered(looks, order, signal))) return undefined;
    const asks = await logIn(spec, await freeName(looks, order, signal), signal, limits);
    try {
      // LIO, restarted and handed what it had written, registers each name when that logs in: with the one
      // that reserved, the reservation is back.
      const again = standing === 'lost' ? await standingOf(looks, order, signal) : standing;
      if (again === 'lost') return undefined;
      return again === 'held' ? held(order) : reserved(await expelEarlier(asks, order, signal));
    } finally {
      await asks.close();
    }
  } finally {
    await looks.close();
  }
}

function held(order: ReservationOrder): Reserved {
  return { key: keyText(reservationKey(order)), preempted: [] };
}

/** By a session of the data path's own name. @throws {UnderstudyError} US_STORAGE_RESERVATION */
export async function assertReserved(
  session: IscsiSession,
  spec: AttachSpec,
  signal: AbortSignal,
): Promise<void> {
  if ((await standingOf(session, reservationOrder(spec), signal)) !== 'lost') return;
  const why = `epoch ${spec.epoch} on ${spec.host} has no reservation (any more)`;
  throw cannotReserve(session, spec.targetLun, why, 'nothing: it is fenced and attached anew');
}

function reservationOrder({ cluster, personality, host, epoch, targetLun }: AttachSpec) {
  const dataPath = initiatorName(cluster, personality, host, epoch);
  return { cluster, host, epoch, lun: targetLun, dataPath } satisfies ReservationOrder;
}

/**
 * A name that nobody is registered with. LIO takes a session of the holder's name, with another ISID, for a
 * stranger even if it is registered; and it remembers every name for good, so the first free one is taken.
 */
async function freeName(
  session: IscsiSession,
  { lun, dataPath }: ReturnType<typeof reservationOrder>,
  signal: AbortSignal,
): Promise<string> {
  const registrants = await session.registrants(lun, signal);
  if (registrants === undefined) {
    const why = 'the target does not tell who is registered (READ FULL STATUS)';
    throw cannotReserve(session, lun, why, 'fence by the mask of the target (understudy target)');
  }
  const taken = new Set(registrants.map(({ initiator }) => initiator));
  let number = 0;
  while (taken.has(`${dataPath}.f${number}`)) number += 1;
  return `${dataPath}.f${number}`;
}

async function logIn(
  spec: AttachSpec,
  initiator: string,
  signal: AbortSignal,
  limits: SessionLimits | undefined,
): Promise<IscsiSession> {
  const chap = await readChap(spec.chap, spec.volume);
  return IscsiSession.login(spec.portals, spec.target, initiator, signal, limits, chap);
}

function reserved({ key, preempted }: ReservationReport): Reserved {
  return { key: keyText(key), preempted: preempted.map(keyText) };
}
