import { messageOf, UnderstudyError } from '../errors.js';
import {
  closeFd,
  createMap,
  isSameShape,
  type MapShape,
  mapInfo,
  mapType,
  openPinned,
  pin,
} from '../ffi/bpf-map.js';

/** native/lease.h. */
const leaseShape: MapShape = { type: mapType.array, keyBytes: 4, valueBytes: 8, maxEntries: 1 };

/** Where the map of an incarnation is pinned, in the folder of our pins. */
export function leaseName(incarnation: number): string {
  return `lease-${incarnation}`;
}

/** @returns a descriptor, to be closed. @throws {UnderstudyError} US_GUARD_NO_LEASE */
export function openLease(path: string): number {
  const fd = openPinned(path);
  if (fd !== undefined && isSameShape(mapInfo(fd), leaseShape)) return fd;
  if (fd !== undefined) closeFd(fd);
  throw new UnderstudyError({
    code: 'US_GUARD_NO_LEASE',
    action: 'cannot open lease map',
    object: path,
    cause: fd === undefined ? 'nothing is pinned there' : 'what is pinned there is no lease map',
    remedy: 'restart the agent: it makes the map of its incarnation before anything is placed',
  });
}

/**
 * Makes the map, in which nothing may pass, unless it is there.
 *
 * @throws {UnderstudyError} US_GUARD_NO_LEASE, US_BPF_MAP
 */
export function ensureLeaseMap(path: string): void {
  try {
    const there = openPinned(path);
    if (there === undefined) makeLeaseMap(path);
    else closeFd(there);
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_BPF_MAP',
        action: 'cannot make lease map',
        object: path,
        cause: messageOf(thrown),
        remedy: 'run as root, on a kernel with CONFIG_BPF_SYSCALL that is not locked down',
      },
      { cause: thrown },
    );
  }
  // Not just anything that happens to be pinned there.
  closeFd(openLease(path));
}

/** A lease that nobody holds or ever will: it is pinned nowhere. @returns a descriptor, to be closed */
export function closedLease(): number {
  return createMap('us_lease', leaseShape);
}

function makeLeaseMap(path: string): void {
  const fd = createMap('us_lease', leaseShape);
  try {
    pin(fd, path);
  } finally {
    closeFd(fd);
  }
}
