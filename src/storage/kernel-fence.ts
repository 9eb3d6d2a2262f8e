import { mkdirSync } from 'node:fs';
import { type ChapCredentials, readChap } from './chap.js';
import { IscsiSession, type SessionLimits } from './iscsi-session.js';
import { arrivalOf, connect } from './kernel-disk.js';
import { KernelReservations } from './kernel-reservation.js';
import { type KernelDisk, removeDisk } from './kernel-sessions.js';
import { type KernelState, newKernelState } from './kernel-state.js';
import { assertDisk, assertIdentity } from './lun-identity.js';
import { type ReservationOrder, standingOf, takeReservation } from './reservation.js';
import { keyText, reservationKey } from './reservation-key.js';
import { cannotReserve } from './reservation-refusals.js';
import { type Layout, writeState } from './state.js';
import { type AttachSpec, initiatorName, type Reserved } from './types.js';

/**
 * The fence by reservation where the kernel carries the data: its session registers itself, so the target
 * need not know of other sessions of that name, and each ISID may stand for itself.
 */
export interface KernelFence {
  readonly layout: Layout;
  readonly spec: AttachSpec;
  readonly limits: SessionLimits | undefined;
}

/**
 * Logs in, registers, throws out all earlier owners. What the kernel read of the disk when it found it (its
 * partitions; udev looks, too) was read before the fence: so that disk is taken away and found anew.
 *
 * Leaves everything as far as it came when it fails: the caller tears it down.
 *
 * @throws {UnderstudyError} as fenceByReservation; US_STORAGE_INITIATOR, US_STORAGE_ELSEWHERE
 */
export async function fenceByKernel(job: KernelFence, signal: AbortSignal): Promise<Reserved> {
  const { layout, spec } = job;
  const chap = await readChap(spec.chap, spec.volume);
  return looking(job, chap, signal, async (looks) => {
    const lun = await lookAt(looks, spec, signal);
    if (!(await looks.reservationsMayPersist(spec.targetLun, signal))) {
      const why = 'the kernel asks for reservations that outlive a loss of power (APTPL)';
      throw cannotReserve(spec, spec.targetLun, `${why}, and the target has none`, maskInstead);
    }
    mkdirSync(layout.directory(spec), { recursive: true, mode: 0o700 });
    let state = newKernelState(layout, spec, lun);
    writeState(layout, state);
    const found = await connect(layout, spec, lun, chap, signal);
    state = withDisk(state, found);
    writeState(layout, state);
    const session = new KernelReservations(`/dev/${found.name}`, looks);
    const { key, preempted } = await takeReservation(session, orderOf(spec), signal);
    await removeDisk(found);
    const disk = await arrivalOf(layout, spec, lun, signal);
    writeState(layout, { ...withDisk(state, disk), stage: 'fenced' });
    return { key: keyText(key), preempted: preempted.map(keyText) };
  });
}

/**
 * Whether a volume that is fenced or attached is still this owner's. Throws out who has registered beside it.
 *
 * @returns undefined when it is lost: then its data path must end before the volume is fenced again
 */
export async function keepByKernel(
  job: KernelFence,
  state: KernelState,
  signal: AbortSignal,
): Promise<Reserved | undefined> {
  const { spec } = job;
  const order = orderOf(spec);
  const chap = await readChap(spec.chap, spec.volume);
  return looking(job, chap, signal, async (looks) => {
    const standing = await standingOf(looks, order, signal);
    if (standing === 'lost') return undefined;
    if (standing === 'held') return { key: keyText(reservationKey(order)), preempted: [] };
    const session = new KernelReservations(`/dev/${state.disk?.name ?? ''}`, looks);
    const { key, preempted } = await takeReservation(session, order, signal);
    return { key: keyText(key), preempted: preempted.map(keyText) };
  });
}

/** @throws {UnderstudyError} US_STORAGE_RESERVATION */
export async function assertKept(
  job: KernelFence,
  state: KernelState | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (state !== undefined && (await keepByKernel(job, state, signal)) !== undefined) return;
  const { spec } = job;
  const why = `epoch ${spec.epoch} on ${spec.host} has no reservation (any more)`;
  throw cannotReserve(spec, spec.targetLun, why, 'nothing: it is fenced and attached anew');
}

const maskInstead = 'fence by the mask of the target (understudy target)';

/** A session beside the data path, of the same name: whoever lets in the one lets in the other. */
async function looking<T>(
  { spec, limits }: KernelFence,
  chap: ChapCredentials | undefined,
  signal: AbortSignal,
  work: (looks: IscsiSession) => Promise<T>,
): Promise<T> {
  const { portals, target } = spec;
  const name = initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch);
  const looks = await IscsiSession.login(portals, target, name, signal, limits, chap);
  try {
    return await work(looks);
  } finally {
    await looks.close();
  }
}

/** Reads no block of it. Nobody may be thrown out of a LUN that is not ours. */
async function lookAt(looks: IscsiSession, spec: AttachSpec, signal: AbortSignal) {
  await assertDisk(looks, spec, signal);
  const serial = await assertIdentity(looks, spec, signal);
  const { blocks, blockSizeBytes } = await looks.capacity(spec.targetLun, signal);
  return { portal: looks.portal, serial, sizeBytes: Number(blocks) * blockSizeBytes };
}

function orderOf({ cluster, host, epoch, targetLun }: AttachSpec): ReservationOrder {
  return { cluster, host, epoch, lun: targetLun, mustAbort: true };
}

function withDisk(state: KernelState, { session, name, number }: KernelDisk): KernelState {
  return { ...state, disk: { session, name, number } };
}
