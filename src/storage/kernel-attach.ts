import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dropBuffers, setReadOnly } from '../ffi/block.js';
import { type ChapCredentials, readChap } from './chap.js';
import { check, filesystemWork, format, mountInTime } from './filesystem.js';
import { identify, type LunIdentity, refusesWrites } from './identity.js';
import type { SessionLimits } from './iscsi-session.js';
import { arrivalOf, connect } from './kernel-disk.js';
import { assertKept } from './kernel-fence.js';
import { type KernelDisk, takeOffline } from './kernel-sessions.js';
import {
  attachedByKernel,
  type KernelState,
  newKernelState,
  readKernelState,
} from './kernel-state.js';
import { makePlace } from './mount-point.js';
import { placeDevice } from './raw-device.js';
import { othersHere, refuseTwice } from './same-lun.js';
import { type Layout, writeState } from './state.js';
import type { AttachedVolume, AttachSpec } from './types.js';

export interface KernelAttach {
  readonly layout: Layout;
  readonly spec: AttachSpec;
  readonly limits: SessionLimits | undefined;
  /** Of a volume whose session holds its reservation already. */
  readonly fenced: KernelState | undefined;
  /** Told of each step and how long it took. */
  step(name: string, tookMs: number): void;
}

/**
 * From LUN to mount by the kernel's initiator. Leaves everything as far as it came when it fails: the caller
 * tears it down. Only after the fence.
 *
 * The target is asked first, by a session of libiscsi: what is wrong with portal, target, LUN, secret or
 * what the LUN holds is known, by its code, before iscsid begins to try.
 */
export async function attachByKernel(
  job: KernelAttach,
  signal: AbortSignal,
): Promise<AttachedVolume> {
  const { layout, spec, limits } = job;
  const timed = timer(job);
  const others = othersHere(layout, spec, readKernelState);
  others.catch(() => {});
  const chap = await readChap(spec.chap, spec.volume);
  // The reservation is the data path's, not of the session that asks here: looked at on its own.
  const reserved = spec.fence === 'reservation';
  if (reserved) await timed('reserved', assertKept(job, job.fenced, signal));
  const standing = reserved ? () => Promise.resolve() : undefined;
  const lun = await timed('identify', identify(spec, signal, limits, chap, standing));
  const work = filesystemWork(spec, lun);
  refuseTwice(await others, spec, lun.serial);
  mkdirSync(layout.directory(spec), { recursive: true, mode: 0o700 });
  makePlace(layout, spec);
  let state = newKernelState(layout, spec, lun);
  // On record before it is made: whoever finds it half done knows what to let go of.
  writeState(layout, state);
  const disk = await timed(
    'login',
    job.fenced === undefined
      ? connect(layout, spec, lun, chap, signal)
      : arrivalOf(layout, spec, lun, signal),
  );
  const { session, name, number } = disk;
  state = { ...state, disk: { session, name, number } };
  writeState(layout, state);
  signal.throwIfAborted();
  await timed('ready', makeReady(disk, spec.access === 'read-only'));
  const path = `/dev/${disk.name}`;
  if (work === 'format') {
    await timed(
      'format',
      format(spec, { path, sizeBytes: lun.sizeBytes }, signal, () =>
        refusal(job, lun, chap, signal),
      ),
    );
  }
  if (work === 'check') await timed('check', check(spec, path, signal));
  signal.throwIfAborted();
  await timed('mount', place(spec, disk, state.hostMount));
  signal.throwIfAborted();
  state = { ...state, stage: 'attached' };
  writeState(layout, state);
  return attachedByKernel(state);
}

/** What was read of it when it was found (partitions; udev looks, too) is read again by the mount. */
async function makeReady({ name }: KernelDisk, readOnly: boolean): Promise<void> {
  const device = await open(`/dev/${name}`, 'r');
  try {
    await setReadOnly(device.fd, readOnly);
    await dropBuffers(device.fd);
  } finally {
    await device.close();
  }
}

async function place(spec: AttachSpec, disk: KernelDisk, hostMount: string): Promise<void> {
  const { filesystem } = spec;
  const path = `/dev/${disk.name}`;
  if (filesystem === 'none') return placeDevice(path, hostMount);
  const takeAway = () => void takeOffline(disk);
  return mountInTime({ ...spec, filesystem }, path, hostMount, takeAway);
}

function refusal(
  { spec, limits }: KernelAttach,
  lun: LunIdentity,
  chap: ChapCredentials | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  // Only the data path may write there.
  if (spec.fence === 'reservation') return Promise.resolve(undefined);
  return refusesWrites(spec, lun, signal, limits, chap);
}

function timer(job: KernelAttach) {
  return async <T>(name: string, work: Promise<T>): Promise<T> => {
    const started = performance.now();
    try {
      return await work;
    } finally {
      job.step(name, performance.now() - started);
    }
  };
}
