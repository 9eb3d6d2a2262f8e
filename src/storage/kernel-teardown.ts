import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, UnderstudyError } from '../errors.js';
import { removeMap } from '../ffi/device-mapper.js';
import { SystemCallError } from '../ffi/libc.js';
import { flushForeign } from './flush-foreign.js';
import { busyError, type Holder, mountersOf, openersOf } from './holders.js';
import { logOut } from './iscsiadm.js';
import { dropMap, type KernelMap, mapsOf, stopMap } from './kernel-map.js';
import {
  diskState,
  disksOf,
  type KernelDisk,
  type KernelSession,
  openExclusively,
  sessionsOf,
  takeOffline,
} from './kernel-sessions.js';
import { interfaceName, type KernelState, pathsOf, readKernelState } from './kernel-state.js';
import type { Log } from './log.js';
import { detachMounts, removePlace, unmountLayers } from './mount-point.js';
import { mounts } from './mountinfo.js';
import { type Layout, removeState, type VolumeId } from './state.js';

/** What is left of a volume that the kernel carries, and taking it down: in order, or by force. */

const settleMs = 5_000;
const settlePauseMs = 10;

export type KernelFound =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'whole'; readonly state: KernelState }
  /** Its session holds the reservation; nothing of it is read or mounted yet. */
  | { readonly kind: 'fenced'; readonly state: KernelState }
  | { readonly kind: 'broken'; readonly state: KernelState | undefined; readonly reason: string };

/** Looks at what is really there: session, disk and mount. Asks nothing of the disk. */
export async function inspectKernel(layout: Layout, id: VolumeId): Promise<KernelFound> {
  const there = existsSync(layout.directory(id));
  const sessions = await sessionsOf(interfaceName(layout, id));
  if (!there && sessions.length === 0) return { kind: 'nothing' };
  const state = await readKernelState(layout, id);
  const broken = (reason: string) => ({ kind: 'broken', state, reason }) as const;
  if (state === undefined) return broken('it has no state that can be read');
  const { disk } = state;
  if (state.stage === 'attaching' || disk === null) return broken('it is half attached');
  const lost = await allLost(state, sessions);
  if (lost !== undefined) return broken(lost);
  if (state.stage === 'fenced') return { kind: 'fenced', state };
  const maps = await mapsOf(layout, id);
  if (state.joined && !maps.some(({ number }) => number === disk.number)) {
    return broken('the map of its paths is gone');
  }
  const mounted = (await mounts()).some(
    ({ mountPoint, device }) =>
      mountPoint === state.hostMount && (state.kind === 'device' || device === disk.number),
  );
  return mounted ? { kind: 'whole', state } : broken(`it is not mounted at ${state.hostMount}`);
}

/** Why no path carries it any more, or one has come that nobody here made; undefined when it is carried. */
async function allLost(
  state: KernelState,
  sessions: readonly KernelSession[],
): Promise<string | undefined> {
  const paths = pathsOf(state);
  const ours = ({ name, initiator }: KernelSession) =>
    initiator === state.initiator && paths.some(({ session }) => session === name);
  if (sessions.length === 0 || !sessions.every(ours)) return 'its session has ended';
  const found = await Promise.all(paths.map((path) => lostPath(path, state.targetLun)));
  return found.some((reason) => reason === undefined) ? undefined : found[0];
}

async function lostPath(
  { session, name, number }: KernelState['paths'][number],
  lun: number,
): Promise<string | undefined> {
  const disk = (await disksOf(session)).find((one) => one.number === number);
  if (disk?.name !== name || disk.lun !== lun) return 'its disk is gone';
  return (await diskState(disk)) === 'offline' ? 'its disk is offline' : undefined;
}

/**
 * Ends the data path: from the first step on nothing more is sent to the target, and with the last what
 * still waited for an answer has failed.
 *
 * @throws {UnderstudyError} US_STORAGE_ABORT
 */
export async function endSession(layout: Layout, id: VolumeId): Promise<void> {
  const name = interfaceName(layout, id);
  let words = 'iscsid did not end it';
  // First, since a path that comes back would carry what waits in the map.
  await Promise.allSettled((await mapsOf(layout, id)).map(stopMap));
  const sessions = await sessionsOf(name);
  const disks = await Promise.all(sessions.map((session) => disksOf(session.name)));
  await Promise.all(disks.flat().map(takeOffline));
  for (const session of sessions) {
    await logOut(layout.records(id), session).catch((thrown: unknown) => {
      words = messageOf(thrown);
    });
  }
  const [left] = await sessionsOf(name);
  if (left === undefined) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_ABORT',
    action: 'cannot end the data path of',
    object: `${id.personality}, LUN ${id.lun}`,
    cause: `${left.name} is still there: ${words}`,
    remedy:
      'see that iscsid runs; else take away power from this host: its disk is offline, no more',
  });
}

/**
 * By force: the data path first, then what can no longer write is unmounted, lazily where it is in use.
 *
 * @throws {UnderstudyError} US_STORAGE_ABORT when the data path could not be ended
 */
export async function tearDownKernel(layout: Layout, id: VolumeId): Promise<void> {
  await endSession(layout, id);
  await detachMounts(layout.hostMount(id));
  for (const map of await mapsOf(layout, id)) await dropMap(map);
  await removeState(layout, id);
  await removePlace(layout, id);
}

/**
 * In order: unmount (which writes back and flushes), log out, and see that all is gone.
 *
 * @throws {UnderstudyError} US_STORAGE_BUSY, US_STORAGE_FLUSH, US_STORAGE_UNMOUNT: then it is still
 * attached; US_STORAGE_LOGOUT
 */
export async function takeDownKernel(
  layout: Layout,
  state: KernelState,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  await unmountLayers(state.hostMount, state.kind, signal);
  const { disk } = state;
  if (disk !== null) {
    const holders = await stillUsed(disk, state.kind, signal);
    if (holders !== undefined) {
      await flushForeign(state.kind, holders, log, signal);
      throw busyError(state.hostMount, holders);
    }
  }
  for (const map of await mapsOf(layout, state)) {
    // Of an attach before, which somebody has still open: it ends with him.
    await (map.number === disk?.number ? removeUnused(map, signal) : dropMap(map));
  }
  for (const session of await sessionsOf(interfaceName(layout, state))) {
    await logOut(layout.records(state), session).catch((thrown: unknown) => {
      // All is written and flushed. Whether it worked is looked at, not told.
      log.warn({ session: session.name }, messageOf(thrown));
    });
  }
  await assertGone(layout, state);
  await removeState(layout, state);
  await removePlace(layout, state);
}

/**
 * Who still has it, in another mount namespace or by the device itself; undefined for nobody. Waits for
 * those that are just ending.
 */
async function stillUsed(
  disk: Pick<KernelDisk, 'name' | 'number'>,
  kind: KernelState['kind'],
  signal: AbortSignal,
): Promise<readonly Holder[] | undefined> {
  // To ask every process takes long on a busy host; who has a file system mounted the kernel itself tells.
  const openers = async () => (kind === 'device' ? openersOf(disk.number) : []);
  for (let waitedMs = 0; ; waitedMs += settlePauseMs) {
    signal.throwIfAborted();
    if ((await isFree(disk)) && (await openers()).length === 0) return undefined;
    if (waitedMs >= settleMs) return [...(await mountersOf(disk.number)), ...(await openers())];
    await pause(settlePauseMs);
  }
}

async function isFree({ name }: Pick<KernelDisk, 'name'>): Promise<boolean> {
  try {
    await (await openExclusively(`/dev/${name}`)).close();
    return true;
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === 'EBUSY') return false;
    // Gone, or its session is: nobody can use it.
    if (code === 'ENOENT' || code === 'ENXIO') return true;
    throw thrown;
  }
}

/** Nobody has it mounted; udev may be looking at it just now. Whether it worked is looked at afterwards. */
async function removeUnused({ name }: KernelMap, signal: AbortSignal): Promise<void> {
  for (let waitedMs = 0; waitedMs < settleMs; waitedMs += settlePauseMs) {
    signal.throwIfAborted();
    try {
      return await removeMap(name);
    } catch (thrown) {
      if (!(thrown instanceof SystemCallError && thrown.errnoName === 'EBUSY')) throw thrown;
      await pause(settlePauseMs);
    }
  }
}

/** @throws {UnderstudyError} US_STORAGE_LOGOUT */
async function assertGone(layout: Layout, state: KernelState): Promise<void> {
  const left: string[] = [];
  for (const { name } of await sessionsOf(interfaceName(layout, state))) left.push(name);
  const { disk } = state;
  for (const { device, number } of await mapsOf(layout, state)) {
    if (number === disk?.number) left.push(`/dev/${device}`);
  }
  for (const path of pathsOf(state)) {
    const node = await stat(`/sys/dev/block/${path.number}`).catch(() => undefined);
    if (node !== undefined && (await isOurs(path))) left.push(`/dev/${path.name}`);
  }
  if (disk !== null) {
    if ((await mounts()).some(({ device }) => device === disk.number)) left.push('a mount of it');
  }
  if (left.length === 0) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_LOGOUT',
    action: 'cannot log out of',
    object: `${state.target}, LUN ${state.targetLun} of ${state.personality}`,
    cause: `all is written and unmounted, and still there: ${left.join(', ')}`,
    remedy: 'see that iscsid runs; it is tried again',
  });
}

/** Numbers are given out again: only a disk of that session is meant. */
async function isOurs(disk: KernelState['paths'][number]): Promise<boolean> {
  const link = await readdir(`/sys/class/iscsi_session/${disk.session}`).catch(() => []);
  return link.length > 0;
}
