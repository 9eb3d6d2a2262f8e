import { existsSync, statfsSync } from 'node:fs';
import koffi from 'koffi';
import { checkBpf, lib } from './libbpf.js';
import { errno, libc, SystemCallError } from './libc.js';
import { offThread } from './off-thread.js';

export const mapType = { hash: 1, array: 2, perCpuArray: 6, arrayOfMaps: 12 } as const;

const BPF_FS_MAGIC = 0xcafe4a11;
/** A map's shape; what two maps must have in common for one to stand in for the other. */
export interface MapShape {
  readonly type: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly maxEntries: number;
}

export interface MapInfo extends MapShape {
  readonly id: number;
}

const libcClose = libc.func('int close(int fd)');
const libcMount = libc.func(
  'int mount(const char *source, const char *target, const char *type, ulong flags, const char *data)',
);

export function closeFd(fd: number): void {
  libcClose(fd);
}

/** Equals: `bpftool map create …`. @returns a descriptor, to be closed */
export function createMap(name: string, shape: MapShape): number {
  const { type, keyBytes, valueBytes, maxEntries } = shape;
  const made = lib().createMap(type, name, keyBytes, valueBytes, maxEntries, null) as number;
  return checkBpf(`bpf_map_create ${name}`, made);
}

/** The value of `key` into `value`. @returns false when there is none */
export function lookupElement(fd: number, key: Uint8Array, value: Uint8Array): boolean {
  const result = lib().lookup(fd, key, value) as number;
  if (-result === errno.ENOENT) return false;
  checkBpf('bpf_map_lookup_elem', result);
  return true;
}

export function updateElement(fd: number, key: Uint8Array, value: Uint8Array): void {
  checkBpf('bpf_map_update_elem', lib().update(fd, key, value, 0) as number);
}

/**
 * Puts a map into a map of maps, or with `inner` undefined takes it out. The kernel returns only when no
 * program sees the old one any more, so on a thread of libuv's pool.
 */
export async function updateInnerMap(
  fd: number,
  index: number,
  inner: number | undefined,
): Promise<void> {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  const value = Buffer.alloc(4);
  value.writeInt32LE(inner ?? -1);
  const { update, remove } = lib();
  const { result } =
    inner === undefined
      ? await offThread(remove, fd, key)
      : await offThread(update, fd, key, value, 0);
  if (result !== 0) throw new SystemCallError('bpf_map_update_elem', -result);
}

/** All values of an array in one call, on a thread of libuv's pool. */
export async function readArray(fd: number, { valueBytes, maxEntries }: MapShape): Promise<Buffer> {
  const values = Buffer.alloc(valueBytes * maxEntries);
  const keys = Buffer.alloc(4 * maxEntries);
  const count = Buffer.alloc(4);
  count.writeUInt32LE(maxEntries);
  const { lookupBatch } = lib();
  const next = Buffer.alloc(4);
  const { result } = await offThread(lookupBatch, fd, null, next, keys, values, count, null);
  if (result !== 0 && -result !== errno.ENOENT) {
    throw new SystemCallError('bpf_map_lookup_batch', -result);
  }
  return values;
}

/** The map at `index` of a map of maps. @returns a descriptor, to be closed; undefined for none */
export function openInnerMap(fd: number, index: number): number | undefined {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(index);
  const id = Buffer.alloc(4);
  if (!lookupElement(fd, key, id)) return undefined;
  return checkBpf('bpf_map_get_fd_by_id', lib().mapById(id.readUInt32LE()) as number);
}

/** No entry is no error. */
export function deleteElement(fd: number, key: Uint8Array): void {
  const result = lib().remove(fd, key) as number;
  if (-result !== errno.ENOENT) checkBpf('bpf_map_delete_elem', result);
}

/** All keys of a hash; what others add or remove meanwhile may be missed. */
export function keysOf(fd: number, { keyBytes, maxEntries }: MapShape): Buffer[] {
  const keys: Buffer[] = [];
  let key: Buffer | null = null;
  while (keys.length < maxEntries) {
    const next = Buffer.alloc(keyBytes);
    const result = lib().nextKey(fd, key, next) as number;
    if (-result === errno.ENOENT) return keys;
    checkBpf('bpf_map_get_next_key', result);
    keys.push(next);
    key = next;
  }
  return keys;
}

/** How many values a lookup in a per-CPU map returns, each rounded up to 8 bytes. */
export function possibleCpus(): number {
  return checkBpf('libbpf_num_possible_cpus', lib().possibleCpus() as number);
}

/** Equals: `bpftool map pin … PATH` */
export function pin(fd: number, path: string): void {
  checkBpf(`bpf_obj_pin ${path}`, lib().pin(fd, path) as number);
}

/** @returns a descriptor, to be closed; undefined when nothing is pinned there */
export function openPinned(path: string): number | undefined {
  const result = lib().get(path) as number;
  if (-result === errno.ENOENT) return undefined;
  return checkBpf(`bpf_obj_get ${path}`, result);
}

export function mapInfo(fd: number): MapInfo {
  // struct bpf_map_info: type, id, key_size, value_size, max_entries, …
  const info = Buffer.alloc(80);
  checkBpf('bpf_obj_get_info_by_fd', lib().info(fd, info, [info.length]) as number);
  const word = (index: number) => info.readUInt32LE(index * 4);
  return {
    type: word(0),
    id: word(1),
    keyBytes: word(2),
    valueBytes: word(3),
    maxEntries: word(4),
  };
}

export function isSameShape(one: MapShape, other: MapShape): boolean {
  return (
    one.type === other.type &&
    one.keyBytes === other.keyBytes &&
    one.valueBytes === other.valueBytes &&
    one.maxEntries === other.maxEntries
  );
}

/** Whether pins can be made in this folder. */
export function isBpfFilesystem(path: string): boolean {
  return existsSync(path) && statfsSync(path).type === BPF_FS_MAGIC;
}

/** Equals: `mount -t bpf bpf PATH`. @throws {SystemCallError} */
export function mountBpfFilesystem(path: string): void {
  if (libcMount('bpf', path, 'bpf', 0, 'mode=0700') < 0) {
    throw new SystemCallError(`mount ${path}`, koffi.errno());
  }
}
