import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ChapCredentials, readChap } from './chap.js';
import { type DataPath, type DiskProcess, endProcess } from './disk-process.js';
import { check, filesystemWork, format, mountInTime } from './filesystem.js';
import { identify, type LunIdentity, refusesWrites } from './identity.js';
import type { SessionLimits } from './iscsi-session.js';
import { bindLoop, type ReservedLoop } from './loop-device.js';
import { makePlace } from './mount-point.js';
import { holdDevice, placeDevice } from './raw-device.js';
import { othersHere, refuseTwice } from './same-lun.js';
import { type Layout, readState, type VolumeState, writeState } from './state.js';
import { type AttachedVolume, type AttachSpec, initiatorName } from './types.js';

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
  /** A block device that nothing is bound to. */
  takeLoop(signal: AbortSignal): Promise<ReservedLoop>;
  readonly limits: SessionLimits | undefined;
  /** Told of each step and how long it took. */
  step(name: string, tookMs: number): void;
}

/**
 * From LUN to mount. Leaves everything as far as it came when it fails: the caller tears it down.
 * Only after the fence.
 */
export async function buildUp(job: BuildUp, signal: AbortSignal): Promise<AttachedVolume> {
  const taken = await job.takeProcess();
  const { process } = taken;
  const kill = () => void endProcess(process.identity, 'SIGKILL', 0).catch(() => {});
  // Whoever gives up makes every call that waits for this disk return.
  signal.addEventListener('abort', kill, { once: true });
  // Made ready while the target is asked, where it is not ready yet.
  const reserving = job.takeLoop(signal);
  reserving.catch(() => {});
  try {
    return await connected(job, taken, reserving, kill, signal);
  } catch (thrown) {
    kill();
    throw thrown;
  } finally {
    signal.removeEventListener('abort', kill);
    await reserving.then((reserved) => reserved.release()).catch(() => {});
  }
}

async function connected(
  job: BuildUp,
  { process, directory }: IdleProcess,
  reserving: Promise<ReservedLoop>,
  kill: () => void,
  signal: AbortSignal,
): Promise<AttachedVolume> {
  const { layout, spec } = job;
  const timed = timer(job);
  moveIn(layout, spec, directory);
  signal.throwIfAborted();
  const others = othersHere(layout, spec, readState);
  others.catch(() => {});
  const { lun, portal, chap } = await opened(job, process, timed, signal);
  const work = filesystemWork(spec, lun);
  refuseTwice(await others, spec, lun.serial);
  const reserved = await reserving;
  let state: VolumeState = { ...newState(job, process, portal, lun), loopIndex: reserved.index };
  // On record before it is bound: whoever finds it half done knows what to let go of.
  writeState(layout, state);
  signal.throwIfAborted();
  const readOnly = spec.access === 'read-only';
  const file = await timed('export', process.expose(layout.exportFile(spec), exposeMs));
  const loop = await timed(
    'loop',
    bindLoop(file, { blockSizeBytes: lun.blockSizeBytes, readOnly }, signal, reserved),
  );
  try {
    if (loop.index !== reserved.index) {
      state = { ...state, loopIndex: loop.index };
      writeState(layout, state);
    }
    if (work === 'format') {
      const refused = () => refusesWrites(spec, lun, signal, job.limits, chap);
      const disk = { path: loop.path, sizeBytes: lun.sizeBytes };
      await timed('format', format(spec, disk, signal, refused));
    }
    if (work === 'check') await timed('check', check(spec, loop.path, signal));
    signal.throwIfAborted();
    const { filesystem } = spec;
    if (filesystem === 'none') {
      state = { ...state, holder: await holdDevice(loop.path) };
      writeState(layout, state);
      await timed('mount', placeDevice(loop.path, state.hostMount));
    } else {
      await timed('mount', mountInTime({ ...spec, filesystem }, loop.path, state.hostMount, kill));
    }
  } finally {
    await loop.close();
  }
  signal.throwIfAborted();
  state = { ...state, stage: 'attached' };
  writeState(layout, state);
  process.leave();
  return attachedVolume(state);
}

/**
 * The target is asked what the LUN is while the data path logs in: neither waits for the other, and
 * nothing can read or write by the data path before it is exposed.
 */
async function opened(
  job: BuildUp,
  process: DiskProcess,
  timed: ReturnType<typeof timer>,
  signal: AbortSignal,
): Promise<{ lun: LunIdentity; portal: string; chap: ChapCredentials | undefined }> {
  const { spec, limits } = job;
  const [first = ''] = spec.portals;
  const chap = await readChap(spec.chap, spec.volume);
  const opening = timed('login', process.open(dataPath(job, first, chap), exposeMs));
  opening.catch(() => {});
  const lun = await timed('identify', identify(spec, signal, limits, chap));
  if (lun.portal === first) {
    await opening;
    return { lun, portal: first, chap };
  }
  // The first portal did not answer when it was asked.
  const open = await opening.then(
    () => true,
    () => false,
  );
  if (!open) await timed('login', process.open(dataPath(job, lun.portal, chap), exposeMs));
  return { lun, portal: open ? first : lun.portal, chap };
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
    holder: null,
  };
}

function dataPath({ spec }: BuildUp, portal: string, chap: ChapCredentials | undefined): DataPath {
  return {
    readOnly: spec.access === 'read-only',
    chap,
    portal,
    target: spec.target,
    lun: spec.targetLun,
    initiator: initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch),
  };
}

/** The idle process's folder becomes the volume's, with its socket and pid file; where it is mounted. */
function moveIn(layout: Layout, spec: AttachSpec, directory: string): void {
  const home = layout.directory(spec);
  mkdirSync(dirname(home), { recursive: true, mode: 0o700 });
  rmSync(home, { recursive: true, force: true });
  renameSync(directory, home);
  writeFileSync(layout.exportFile(spec), '', { mode: 0o600 });
  makePlace(layout, spec);
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
