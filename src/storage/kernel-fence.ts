import { mkdirSync } from 'node:fs';
import { type ChapCredentials, readChap } from './chap.js';
import { IscsiSession, type SessionLimits } from './iscsi-session.js';
import { arrivalOf, connect } from './kernel-disk.js';
import { canJoinPaths } from './kernel-map.js';
import { KernelReservations } from './kernel-reservation.js';
import { diskState, disksOf, type KernelDisk, removeDisk } from './kernel-sessions.js';
import { type KernelState, newKernelState, pathsOf, withPaths } from './kernel-state.js';
import { assertDisk, assertIdentity } from './lun-identity.js';
import { answeringPortals } from './portal-probe.js';
import {
  type ReservationOrder,
  type ReservationSession,
  standingOf,
  takeReservation,
} from './reservation.js';
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
  const answering = answeringPortals(spec, signal);
  answering.catch(() => {});
  return looking(job, chap, signal, async (looks) => {
    const lun = await lookAt(looks, spec, signal);
    if (!(await looks.reservationsMayPersist(spec.targetLun, signal))) {
      const why = 'the kernel asks for reservations that outlive a loss of power (APTPL)';
      throw cannotReserve(spec, spec.targetLun, `${why}, and the target has none`, maskInstead);
    }
    mkdirSync(layout.directory(spec), { recursive: true, mode: 0o700 });
    const portals = await portalsToUse(spec, answering, lun.portal);
    let state = { ...newKernelState(layout, spec, lun), joined: portals.length > 1 };
    writeState(layout, state);
    const found = await connect(layout, spec, { ...lun, portals }, chap, signal);
    state = withPaths(state, found);
    writeState(layout, state);
    const { key, preempted, registrations } = await reserveBy(found, looks, spec, signal);
    for (const disk of found) await removeDisk(disk);
    const disks = await arrivalOf(layout, spec, lun, signal);
    writeState(layout, { ...withPaths(state, disks), registrations, stage: 'fenced' });
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
    if (standing === 'lost' || !(await allRegistered(looks, order, state, signal)))
      return undefined;
    if (standing === 'held') return { key: keyText(reservationKey(order)), preempted: [] };
    const [carrying = state.disk?.name ?? ''] = await carryingPaths(state);
    const session = new KernelReservations(`/dev/${carrying}`, looks);
    const { key, preempted } = await takeReservation(session, order, signal);
    return { key: keyText(key), preempted: preempted.map(keyText) };
  });
}

/**
 * The portals to log in to: all that answer, where the kernel can join paths; else the one that was asked.
 * Not with a mask, whose keeper knows a host by where one session comes from. A volume has the paths that its
 * fence begins with: to add one later would be to register a nexus that writes at once.
 */
async function portalsToUse(
  { portals }: AttachSpec,
  answering: Promise<readonly string[]>,
  asked: string,
): Promise<readonly string[]> {
  if (portals.length === 1 || !canJoinPaths()) return [asked];
  return [...new Set([asked, ...(await answering)])];
}

/**
 * Each path is a nexus of its own, so each registers, with the one key: whoever throws that out throws out
 * all of them at once, with what any of them has under way. The first throws out the others; until it has,
 * no other is registered that a failure would leave behind. None has anything to write yet.
 */
async function reserveBy(
  [first, ...more]: readonly KernelDisk[],
  looks: IscsiSession,
  spec: AttachSpec,
  signal: AbortSignal,
) {
  const order = orderOf(spec);
  const by = (disk: KernelDisk | undefined) =>
    new KernelReservations(`/dev/${disk?.name ?? ''}`, looks);
  const report = await takeReservation(by(first), order, signal);
  const registration = { action: 'register-and-ignore', key: 0n, type: 5, persists: true } as const;
  for (const disk of more) {
    const own = { ...registration, serviceActionKey: report.key };
    await by(disk).persistentReserve(spec.targetLun, own, signal);
  }
  const registrations = more.length === 0 ? 0 : await countOwn(looks, order, signal);
  if ((await standingOf(looks, order, signal)) === 'held') return { ...report, registrations };
  const why = 'it did not stand for every path when all were registered';
  throw cannotReserve(spec, spec.targetLun, why, 'nothing, if another host took over meanwhile');
}

/**
 * A path that is not registered may not write, and its writes would fail for all. Paths that are away do not
 * count: a target that was restarted may know them again only when they log in.
 */
async function allRegistered(
  looks: ReservationSession,
  order: ReservationOrder,
  state: KernelState,
  signal: AbortSignal,
): Promise<boolean> {
  if (state.registrations === 0) return true;
  // In this order: one that comes meanwhile is counted there, and not missed here.
  const away = pathsOf(state).length - (await carryingPaths(state)).length;
  return (await countOwn(looks, order, signal)) >= state.registrations - away;
}

async function countOwn(
  looks: ReservationSession,
  order: ReservationOrder,
  signal: AbortSignal,
): Promise<number> {
  const { keys } = await looks.reservationKeys(order.lun, signal);
  return keys.filter((key) => key === reservationKey(order)).length;
}

/** Disks whose sessions are logged in now. */
async function carryingPaths(state: KernelState): Promise<readonly string[]> {
  const found = await Promise.all(
    pathsOf(state).map(async ({ session, name }) => {
      const disk = (await disksOf(session)).find((one) => one.name === name);
      return disk !== undefined && (await diskState(disk)) === 'running' ? [name] : [];
    }),
  );
  return found.flat();
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
