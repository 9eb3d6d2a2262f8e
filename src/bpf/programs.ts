import { unlinkSync } from 'node:fs';
import { messageOf, UnderstudyError } from '../errors.js';
import { BpfLoadError, type LoadedObject, loadObject } from '../ffi/bpf.js';
import {
  closeFd,
  isSameShape,
  lookupElement,
  type MapShape,
  mapInfo,
  openPinned,
  pin,
  possibleCpus,
} from '../ffi/bpf-map.js';
import { SystemCallError } from '../ffi/libc.js';
import { type BpfPlace, objectPath } from './place.js';

/** A map as its program's source defines it, and where it is pinned. */
export interface PinnedMap {
  readonly name: string;
  readonly path: string;
  readonly shape: MapShape;
}

/**
 * Loads a compiled object on the maps that an earlier process pinned. When all of `pinned` are there
 * in the shape of today they are used; else all of them are made anew and take over the pins.
 *
 * @param given further maps, by descriptor
 * @param only the one program to load; every one by default
 * @throws {UnderstudyError} US_BPF_LOAD; US_BPF_NOT_NOW when the host is short of what loading takes
 */
export function loadOnPins(
  place: BpfPlace,
  object: string,
  pinned: readonly PinnedMap[],
  given: ReadonlyMap<string, number> = new Map(),
  only?: string,
): { readonly object: LoadedObject; readonly adopted: boolean } {
  const path = objectPath(place, object);
  const opened = new Map<string, number>();
  try {
    const adopted = openAll(pinned, opened);
    const loaded = loadObject(path, new Map([...given, ...(adopted ? opened : [])]), only);
    if (!adopted) pinAnew(loaded, pinned);
    return { object: loaded, adopted };
  } catch (thrown) {
    throw notLoaded(path, thrown);
  } finally {
    for (const fd of opened.values()) closeFd(fd);
  }
}

/** Whoever finds but some of them makes all anew. So first none is left: some old and some new would be all. */
function pinAnew(loaded: LoadedObject, pinned: readonly PinnedMap[]): void {
  try {
    for (const { path } of pinned) unpin(path);
    for (const { name, path } of pinned) pin(loaded.map(name), path);
  } catch (thrown) {
    loaded.close();
    throw thrown;
  }
}

/** Whatever program it is about: it may be taken the next time. bpf(2); the verifier is interrupted by signals. */
const passing = new Set(['ENOMEM', 'EAGAIN', 'EINTR', 'EMFILE', 'ENFILE']);

function notLoaded(path: string, thrown: unknown): UnderstudyError {
  const cause = thrown instanceof BpfLoadError ? thrown.cause : thrown;
  const words =
    cause instanceof SystemCallError && passing.has(cause.errnoName)
      ? ({
          code: 'US_BPF_NOT_NOW',
          remedy: 'give the host memory, and the agent file descriptors',
        } as const)
      : ({
          code: 'US_BPF_LOAD',
          remedy:
            'run as root on a kernel from 5.15 on; if the verifier refused it, please report its words',
        } as const);
  const told = { action: 'cannot load BPF program', object: path, cause: messageOf(thrown) };
  return new UnderstudyError({ ...words, ...told }, { cause: thrown });
}

/** What it opens is in `opened`, also when it fails. @returns whether all are there in the shape of today */
function openAll(pinned: readonly PinnedMap[], opened: Map<string, number>): boolean {
  for (const { name, path, shape } of pinned) {
    const fd = openPinned(path);
    if (fd === undefined) return false;
    opened.set(name, fd);
    if (!isSameShape(mapInfo(fd), shape)) return false;
  }
  return pinned.length > 0;
}

/** The kernel keeps the map for as long as a program uses it. No pin is no error. */
export function unpin(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
  }
}

export function keyOf32(index: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  return key;
}

/** Sums of the unsigned 64-bit words in one value of a per-CPU array, over all CPUs. */
export function sumPerCpu(fd: number, index: number, words: number): bigint[] {
  const cpus = possibleCpus();
  const values = new BigUint64Array(cpus * words);
  lookupElement(fd, keyOf32(index), new Uint8Array(values.buffer));
  const sums = new Array<bigint>(words).fill(0n);
  for (const [at, value] of values.entries()) sums[at % words] = (sums[at % words] ?? 0n) + value;
  return sums;
}
