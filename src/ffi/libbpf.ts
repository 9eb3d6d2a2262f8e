import koffi from 'koffi';
import { SystemCallError } from './libc.js';

/**
 * libbpf (LGPL, Debian package libbpf1), only what its version 1.1 has: loading objects, maps and
 * pins. Everything here is synchronous and takes microseconds, loading a program milliseconds.
 */
export type Pointer = bigint | null;

/** Declares libbpf once, when it is first needed. */
function bind() {
  const library = koffi.load('libbpf.so.1');
  const f = (declaration: string) => library.func(declaration);
  const openOptions = koffi.struct('bpf_object_open_opts', {
    sz: 'size_t',
    object_name: 'const char *',
    relaxed_maps: 'bool',
    pin_root_path: 'const char *',
    unused: 'uint32',
    kconfig: 'const char *',
    btf_custom_path: 'const char *',
    kernel_log_buf: 'void *',
    kernel_log_size: 'size_t',
    kernel_log_level: 'uint32',
  });
  // Its own words on stderr would mix with ours; what matters is in the errors. Not a JavaScript
  // callback: it takes a va_list.
  f('void *libbpf_set_print(void *print)')(null);
  return {
    openOptions,
    open: f('void *bpf_object__open_file(const char *path, bpf_object_open_opts *options)'),
    load: f('int bpf_object__load(void *object)'),
    closeObject: f('void bpf_object__close(void *object)'),
    findMap: f('void *bpf_object__find_map_by_name(void *object, const char *name)'),
    nextMap: f('void *bpf_object__next_map(void *object, void *map)'),
    mapName: f('const char *bpf_map__name(void *map)'),
    mapFd: f('int bpf_map__fd(void *map)'),
    mapReuse: f('int bpf_map__reuse_fd(void *map, int fd)'),
    nextProgram: f('void *bpf_object__next_program(void *object, void *program)'),
    programName: f('const char *bpf_program__name(void *program)'),
    programFd: f('int bpf_program__fd(void *program)'),
    setAutoload: f('int bpf_program__set_autoload(void *program, bool load)'),
    createMap: f(
      'int bpf_map_create(int type, const char *name, uint32 key, uint32 value, uint32 entries, void *options)',
    ),
    lookup: f('int bpf_map_lookup_elem(int fd, void *key, void *value)'),
    update: f('int bpf_map_update_elem(int fd, void *key, void *value, uint64 flags)'),
    remove: f('int bpf_map_delete_elem(int fd, void *key)'),
    nextKey: f('int bpf_map_get_next_key(int fd, void *key, void *next)'),
    lookupBatch: f(
      'int bpf_map_lookup_batch(int fd, void *from, void *next, void *keys, void *values, void *count, void *options)',
    ),
    pin: f('int bpf_obj_pin(int fd, const char *path)'),
    get: f('int bpf_obj_get(const char *path)'),
    mapById: f('int bpf_map_get_fd_by_id(uint32 id)'),
    programById: f('int bpf_prog_get_fd_by_id(uint32 id)'),
    info: f('int bpf_obj_get_info_by_fd(int fd, void *info, _Inout_ uint32 *length)'),
    possibleCpus: f('int libbpf_num_possible_cpus()'),
  };
}

let bound: ReturnType<typeof bind> | undefined;
export function lib(): ReturnType<typeof bind> {
  bound ??= bind();
  return bound;
}

/** libbpf returns a negative errno (since 1.0). @throws {SystemCallError} */
export function checkBpf(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, -result);
  return result;
}
