import { UnderstudyError } from '../errors.js';
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

/** Makes the map, in which nothing may pass, unless it is there. */
export function ensureLeaseMap(path: string): void {
  const there = openPinned(path);
  if (there !== undefined) {
    closeFd(there);
    closeFd(openLease(path));
    return;
  }
  const fd = createMap('us_lease', leaseShape);
  try {
    pin(fd, path);
  } finally {
    closeFd(fd);
  }
}
