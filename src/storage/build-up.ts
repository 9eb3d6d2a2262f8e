import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UnderstudyError } from '../errors.js';
import { type DiskProcess, endProcess } from './disk-process.js';
import { check, filesystemWork, format, mountVolume } from './filesystem.js';
import { identify } from './identity.js';
import type { SessionLimits } from './iscsi-session.js';
import { type BoundLoop, bindLoop, type ReservedLoop, reserveLoop } from './loop-device.js';
import { type Layout, type VolumeState, writeState } from './state.js';
import { type AttachedVolume, type AttachSpec, initiatorName } from './types.js';

/** Bound on mount(2): a long journal is replayed in it. */
const mountMs = 60_000;
const exposeMs = 5_000;

export interface IdleProcess {
  readonly process: DiskProcess;
  readonly directory: string;
}

export interface BuildUp {
  readonly layout: Layout;
  readonly spec: AttachSpec;
  /** A disk process without a disk, and the folder it was started in. */
  takeProcess(): Promise<IdleProcess>;
  /** Ends one that was not needed after all. */
  returnProcess(process: IdleProcess): Promise<void>;
  readonly limits: SessionLimits | undefined;
  /** Told of each step and how long it took. */
  step(name: string, tookMs: number): void;
}

/**
 * From LUN to mount. Leaves everything as far as it came when it fails: the caller tears it down.
 * Only after the fence.
 */
export async function buildUp(job: BuildUp, signal: AbortSignal): Promise<AttachedVolume> {
  const { layout, spec } = job;
  // Made ready while the target is asked: a block device that nothing is bound to, and a daemon
  // that knows of no disk.
  const reserving = reserveLoop(layout.exportFile(spec), signal);
  const release = () => reserving.then((reserved) => reserved.release()).catch(() => {});
  try {
    return await connected(job, reserving, signal);
  } finally {
    await release();
  }
}

async function connected(
  job: BuildUp,
  reserving: Promise<ReservedLoop>,
  signal: AbortSignal,
): Promise<AttachedVolume> {
  const { layout, spec } = job;
  const timed = timer(job);
  reserving.catch(() => {});
  const [lun, taken] = await both(
    timed('identify', identify(spec, signal, job.limits)),
    timed('process', job.takeProcess()),
    job.returnProcess,
  );
  const { process } = taken;
  const kill = () => void endProcess(process.identity, 'SIGKILL', 0).catch(() => {});
  // Whoever gives up makes every call that waits for this disk return.
  signal.addEventListener('abort', kill, { once: true });
  try {
    const work = filesystemWork(spec, lun);
    await moveIn(layout, spec, taken.directory);
    let state = newState(job, process, lun.portal, lun);
    await writeState(layout, state);
    const path = dataPath(job, lun.portal);
    signal.throwIfAborted();
    const bindReserved = async (exported: string) =>
      bindLoop(exported, lun.blockSizeBytes, signal, await reserving);
    const file = await timed('login', process.expose(path, exposeMs));
    const loop = await timed('loop', bindReserved(file));
    try {
      state = { ...state, loopIndex: loop.index };
      await writeState(layout, state);
      if (work === 'format') await timed('format', format(spec, loop.path, signal));
      if (work === 'check') await timed('check', check(spec, loop.path, signal));
      await mkdir(state.hostMount, { recursive: true, mode: 0o700 });
      signal.throwIfAborted();
      await timed('mount', mountInTime(spec, loop, state.hostMount, kill));
    } finally {
      await loop.close();
    }
    signal.throwIfAborted();
    state = { ...state, stage: 'attached' };
    await writeState(layout, state);
    process.leave();
    return attachedVolume(state);
  } catch (thrown) {
    kill();
    throw thrown;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

export function attachedVolume(state: VolumeState): AttachedVolume {
  return {
    personality: state.personality,
    lun: state.lun,
    volume: state.volume,
    epoch: state.epoch,
    device: `/dev/loop${state.loopIndex}`,
    hostMount: state.hostMount,
    serial: state.serial,
    sizeBytes: state.sizeBytes,
  };
}

function newState(
  { layout, spec }: BuildUp,
  process: DiskProcess,
  portal: string,
  lun: { serial: string; sizeBytes: number },
): VolumeState {
  return {
    version: 1,
    stage: 'attaching',
    personality: spec.personality,
    lun: spec.lun,
    volume: spec.volume,
    epoch: spec.epoch,
    target: spec.target,
    targetLun: spec.targetLun,
    initiator: initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch),
    hostMount: layout.hostMount(spec),
    process: process.identity,
    portal,
    loopIndex: null,
    serial: lun.serial,
    sizeBytes: lun.sizeBytes,
  };
}

function dataPath({ layout, spec }: BuildUp, portal: string) {
  return {
    portal,
    target: spec.target,
    lun: spec.targetLun,
    initiator: initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch),
    mountPoint: layout.exportFile(spec),
  };
}

/** The idle process's folder becomes the volume's, with its socket and pid file. */
async function moveIn(layout: Layout, spec: AttachSpec, directory: string): Promise<void> {
  const home = layout.directory(spec);
  await mkdir(dirname(home), { recursive: true, mode: 0o700 });
  await rm(home, { recursive: true, force: true });
  await rename(directory, home);
  await writeFile(layout.exportFile(spec), '', { mode: 0o600 });
}

/** mount(2) cannot be cancelled: after `mountMs` its disk is taken away, and then it fails. */
async function mountInTime(
  spec: AttachSpec,
  loop: BoundLoop,
  hostMount: string,
  kill: () => void,
): Promise<void> {
  let expired = false;
  const expiry = setTimeout(() => {
    expired = true;
    kill();
  }, mountMs);
  try {
    await mountVolume(spec.filesystem, loop.path, hostMount);
  } catch (thrown) {
    if (!expired) throw thrown;
    throw new UnderstudyError(
      {
        code: 'US_STORAGE_MOUNT',
        action: `cannot mount ${loop.path} at`,
        object: hostMount,
        cause: `no end in ${mountMs / 1000} s`,
        remedy: 'see that the target answers, and how long its disks take',
      },
      { cause: thrown },
    );
  } finally {
    clearTimeout(expiry);
  }
}

/** Waits for both; when the first fails, undoes what the second came to. */
async function both<A, B>(
  first: Promise<A>,
  second: Promise<B>,
  undoSecond: (value: B) => Promise<void>,
): Promise<readonly [A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value];
  if (b.status === 'fulfilled') await undoSecond(b.value);
  throw a.status === 'rejected' ? a.reason : (b as PromiseRejectedResult).reason;
}

function timer(job: BuildUp) {
  return async <T>(name: string, work: Promise<T>): Promise<T> => {
    const started = performance.now();
    try {
      return await work;
    } finally {
      job.step(name, performance.now() - started);
    }
  };
}
