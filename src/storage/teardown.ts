import { existsSync } from 'node:fs';
import { readFile, readlink } from 'node:fs/promises';
import { UnderstudyError } from '../errors.js';
import { endProcess, identifyProcess, isAlive, type ProcessIdentity } from './disk-process.js';
import { flushForeign } from './flush-foreign.js';
import { busyError, type Holder, mountersOf } from './holders.js';
import type { Log } from './log.js';
import { backingFile, deviceNumber, releaseLoop, unbindAndRemoveLater } from './loop-device.js';
import { detachMounts, removePlace, unmountLayers } from './mount-point.js';
import { mounts } from './mountinfo.js';
import { type Layout, readState, removeState, type VolumeId, type VolumeState } from './state.js';

/** What is left of a volume on this host, and taking it down: in order, or by force. */

const killMs = 2_000;
const terminateMs = 5_000;
/**
 * Other mount namespaces let go of a volume a moment after their last process ended; one that is just
 * being made has a copy until it has thrown it out, which took over two seconds on a saturated machine.
 */
const settleMs = 5_000;
const settlePauseMs = 10;

export type Found =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'whole'; readonly state: VolumeState }
  | { readonly kind: 'broken'; readonly state: VolumeState | undefined; readonly reason: string };

/**
 * Looks at what is really there: process, block device and mount. Asks nothing of the export or
 * the disk, so it cannot hang on a dead one.
 */
export async function inspect(layout: Layout, id: VolumeId): Promise<Found> {
  if (!existsSync(layout.directory(id))) return { kind: 'nothing' };
  const state = await readState(layout, id);
  const broken = (reason: string) => ({ kind: 'broken', state, reason }) as const;
  if (state === undefined) return broken('it has no state that can be read');
  if (!(await isAlive(state.process))) return broken('its disk process has ended');
  if (state.stage !== 'attached' || state.loopIndex === null) return broken('it is half attached');
  const file = await backingFile(state.loopIndex);
  if (file !== layout.exportFile(id)) {
    return broken(`/dev/loop${state.loopIndex} is bound to ${file ?? 'nothing'}`);
  }
  const { holder } = state;
  if (holder !== null && !(await isAlive(holder))) return broken('nobody keeps its device');
  const device = await deviceNumber(state.loopIndex);
  const mounted = (await mounts()).some(
    (mount) => mount.mountPoint === state.hostMount && (holder !== null || mount.device === device),
  );
  return mounted ? { kind: 'whole', state } : broken(`it is not mounted at ${state.hostMount}`);
}

/** Ends the data path this instant, whatever else is left. @throws {UnderstudyError} US_STORAGE_ABORT */
export async function killDataPath(layout: Layout, id: VolumeId): Promise<void> {
  const state = await readState(layout, id);
  for (const process of [state?.process, await processOf(layout.directory(id))]) {
    if (process === undefined) continue;
    if (await endProcess(process, 'SIGKILL', killMs)) continue;
    throw new UnderstudyError({
      code: 'US_STORAGE_ABORT',
      action: 'cannot end the data path of',
      object: `${id.personality}, LUN ${id.lun}`,
      cause: `process ${process.pid} has not ended ${killMs} ms after SIGKILL`,
      remedy: 'take away power from this host: its disk process cannot be stopped',
    });
  }
}

/** The disk process that was started in a folder: its working directory follows when that is renamed. */
export async function processOf(directory: string): Promise<ProcessIdentity | undefined> {
  const pid = Number(await readFile(`${directory}/qsd.pid`, 'utf8').catch(() => ''));
  if (!(pid > 0)) return undefined;
  const identity = await identifyProcess(pid);
  const home = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  return home === directory ? identity : undefined;
}

/**
 * By force: the data path dies first, so that nothing that is still dirty can reach the disk; then
 * what can no longer write is unmounted, lazily where it is in use. Works on half-attached volumes.
 *
 * @throws {UnderstudyError} US_STORAGE_ABORT when the data path could not be ended
 */
export async function tearDown(layout: Layout, id: VolumeId, log: Log): Promise<void> {
  await killDataPath(layout, id);
  const state = await readState(layout, id);
  await detachMounts(layout.hostMount(id));
  await letGo(state);
  const file = layout.exportFile(id);
  if (state !== undefined && state.loopIndex !== null) {
    const gone = await releaseLoop(state.loopIndex, file);
    if (!gone) {
      log.warn({ ...id }, `/dev/loop${state.loopIndex} is in use until its last user ends`);
    }
  }
  await detachMounts(file);
  await removeState(layout, id);
  await removePlace(layout, id);
}

/**
 * In order: unmount (which writes back and flushes), unbind, log out.
 *
 * @throws {UnderstudyError} US_STORAGE_BUSY, US_STORAGE_FLUSH, US_STORAGE_UNMOUNT: the volume is still attached
 */
export async function takeDown(
  layout: Layout,
  state: VolumeState,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const file = layout.exportFile(state);
  const device = state.loopIndex === null ? undefined : await deviceNumber(state.loopIndex);
  await unmountLayers(state.hostMount, kindOf(state), signal);
  await letGo(state);
  if (state.loopIndex !== null && device !== undefined) {
    const holders = await unused(state.loopIndex, file, device, signal);
    if (holders !== undefined) {
      await flushForeign(kindOf(state), holders, log, signal);
      throw busyError(state.hostMount, holders);
    }
    await unbindAndRemoveLater(state.loopIndex, file);
  }
  if (!(await endProcess(state.process, 'SIGTERM', terminateMs))) {
    // All is written and flushed: only the log-out is missing.
    log.warn({ ...state.process }, 'disk process did not end in order');
    await killDataPath(layout, state);
  }
  await detachMounts(file);
  await removeState(layout, state);
  await removePlace(layout, state);
}

export function kindOf({ holder }: VolumeState): 'file system' | 'device' {
  return holder === null ? 'file system' : 'device';
}

/**
 * Waits until the block device is unbound, which the kernel does when the last user lets go
 * (LO_FLAGS_AUTOCLEAR): a workload's mount namespace may still have the file system.
 *
 * @returns who has not let go in time
 */
async function unused(
  index: number,
  file: string,
  device: string,
  signal: AbortSignal,
): Promise<readonly Holder[] | undefined> {
  for (let waitedMs = 0; ; waitedMs += settlePauseMs) {
    signal.throwIfAborted();
    if ((await backingFile(index)) !== file) return undefined;
    if (waitedMs >= settleMs) return mountersOf(device);
    await new Promise((resolve) => setTimeout(resolve, settlePauseMs));
  }
}

/** Of a volume without a file system: then its device is unbound, unless somebody has it open. */
async function letGo(state: VolumeState | undefined): Promise<void> {
  if (state?.holder) await endProcess(state.holder, 'SIGKILL', killMs);
}
