import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dropBuffers, setReadOnly } from '../ffi/block.js';
import { type ChapCredentials, readChap } from './chap.js';
import { check, filesystemWork, format, mountInTime } from './filesystem.js';
import { identify, type LunIdentity, refusesWrites } from './identity.js';
import type { SessionLimits } from './iscsi-session.js';
import { arrivalOf, connect } from './kernel-disk.js';
import { assertKept } from './kernel-fence.js';
import { joinPaths, mapsOf, refuseHeld, stopMap } from './kernel-map.js';
import { type KernelDisk, takeOffline } from './kernel-sessions.js';
import {
  attachedByKernel,
  type KernelState,
  newKernelState,
  readKernelState,
  withPaths,
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
  const { joined, registrations } = job.fenced ?? { joined: false, registrations: 0 };
  let state = { ...newKernelState(layout, spec, lun), joined, registrations };
  // On record before it is made: whoever finds it half done knows what to let go of.
  writeState(layout, state);
  const paths = await timed(
    'login',
    job.fenced === undefined
      ? connect(layout, spec, { ...lun, portals: [lun.portal] }, chap, signal)
      : arrivalOf(layout, spec, lun, signal),
  );
  state = withPaths(state, paths);
  writeState(layout, state);
  signal.throwIfAborted();
  const disk = await timed('ready', makeReady(job, paths, joined));
  state = { ...state, disk };
  writeState(layout, state);
  signal.throwIfAborted();
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
  await timed('mount', place(job, path, paths));
  signal.throwIfAborted();
  state = { ...state, stage: 'attached' };
  writeState(layout, state);
  return attachedByKernel(state);
}

/**
 * What was read of a disk when it was found (partitions; udev looks, too) is read again by the mount.
 *
 * @returns what is to be mounted
 */
async function makeReady(
  { layout, spec }: KernelAttach,
  paths: readonly KernelDisk[],
  joined: boolean,
): Promise<NonNullable<KernelState['disk']>> {
  const readOnly = spec.access === 'read-only';
  for (const { name } of paths) await freshen(name, readOnly);
  const [first] = paths;
  if (first === undefined) throw new Error('no disk has come');
  if (!joined) return { session: first.session, name: first.name, number: first.number };
  await refuseHeld(spec, paths);
  const { device, number } = await joinPaths(layout, spec, paths, readOnly);
  await freshen(device, readOnly);
  return { session: '', name: device, number };
}

async function freshen(name: string, readOnly: boolean): Promise<void> {
  const device = await open(`/dev/${name}`, 'r');
  try {
    await setReadOnly(device.fd, readOnly);
    await dropBuffers(device.fd);
  } finally {
    await device.close();
  }
}

async function place(
  { layout, spec }: KernelAttach,
  path: string,
  paths: readonly KernelDisk[],
): Promise<void> {
  const { filesystem } = spec;
  const hostMount = layout.hostMount(spec);
  if (filesystem === 'none') return placeDevice(path, hostMount);
  const takeAway = () => {
    for (const disk of paths) void takeOffline(disk);
    void mapsOf(layout, spec).then((maps) => Promise.allSettled(maps.map(stopMap)));
  };
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
