import koffi from 'koffi';
import { closeFd } from './bpf-map.js';
import { checkBpf, lib, type Pointer } from './libbpf.js';
import { errno, SystemCallError } from './libc.js';

/** Loading a program failed; `log` is what the kernel's verifier said. */
export class BpfLoadError extends Error {
  /** Not enumerable: thousands of lines have no place in a log. */
  declare readonly log: string;

  constructor(path: string, cause: SystemCallError, log: string) {
    const lastLines = log.trim().split('\n').slice(-12).join('\n');
    super(`${path}: ${cause.message}${lastLines === '' ? '' : `\n${lastLines}`}`, { cause });
    this.name = 'BpfLoadError';
    Object.defineProperty(this, 'log', { value: log });
  }
}

export interface ProgramInfo {
  readonly id: number;
  /** Hash of its instructions, without which maps they use: the same code has the same tag. */
  readonly tag: string;
  readonly name: string;
  readonly mapIds: readonly number[];
}

/** Room for the verifier's words on a program of ours that it refuses; untouched otherwise. */
const verifierLogBytes = 1 << 20;
const mostMapIds = 64;

export interface LoadedObject {
  /** Descriptors by the name in the source; they belong to the object. */
  program(name: string): number;
  map(name: string): number;
  /** Lets go of all descriptors; what a filter or a pin holds stays in the kernel. */
  close(): void;
}

/**
 * Loads the programs and maps of a compiled object.
 *
 * Equals: `bpftool prog loadall PATH … map name NAME fd FD`
 *
 * @param given descriptors of maps to use in place of those that the object defines, by name
 * @param only the one program to load; every one by default
 * @throws {BpfLoadError}
 */
export function loadObject(
  path: string,
  given: ReadonlyMap<string, number>,
  only?: string,
): LoadedObject {
  const { open, load, closeObject, findMap, mapReuse } = lib();
  const log = koffi.alloc('char', verifierLogBytes) as bigint;
  koffi.encode(log, 'char', 0);
  let object: Pointer = null;
  try {
    object = open(path, openOptions(log)) as Pointer;
    if (object === null) throw new SystemCallError('bpf_object__open_file', koffi.errno());
    for (const [name, fd] of given) {
      const map = findMap(object, name) as Pointer;
      if (map === null) throw new Error(`${path} has no map ${name}`);
      checkBpf(`bpf_map__reuse_fd ${name}`, mapReuse(map, fd));
    }
    if (only !== undefined) leaveOut(object, only);
    checkBpf('bpf_object__load', load(object));
    return describe(path, object);
  } catch (thrown) {
    if (object !== null) closeObject(object);
    if (!(thrown instanceof SystemCallError)) throw thrown;
    throw new BpfLoadError(path, thrown, koffi.decode(log, 'char', -1) as string);
  } finally {
    koffi.free(log);
  }
}

function leaveOut(object: Pointer, only: string): void {
  const { nextProgram, programName, setAutoload } = lib();
  for (let at = nextProgram(object, null) as Pointer; at !== null; at = nextProgram(object, at)) {
    if (programName(at) !== only) checkBpf('bpf_program__set_autoload', setAutoload(at, false));
  }
}

/** With a level of 0 the kernel writes the log only for what it refuses. */
function openOptions(log: bigint): Record<string, unknown> {
  return {
    sz: koffi.sizeof(lib().openOptions),
    object_name: null,
    relaxed_maps: false,
    pin_root_path: null,
    unused: 0,
    kconfig: null,
    btf_custom_path: null,
    kernel_log_buf: log,
    kernel_log_size: verifierLogBytes,
    kernel_log_level: 0,
  };
}

function describe(path: string, object: Pointer): LoadedObject {
  const { nextMap, mapName, mapFd, nextProgram, programName, programFd, closeObject } = lib();
  const maps = new Map<string, number>();
  const programs = new Map<string, number>();
  for (let at = nextMap(object, null) as Pointer; at !== null; at = nextMap(object, at)) {
    maps.set(mapName(at) as string, mapFd(at) as number);
  }
  for (let at = nextProgram(object, null) as Pointer; at !== null; at = nextProgram(object, at)) {
    programs.set(programName(at) as string, programFd(at) as number);
  }
  const find = (kind: string, found: ReadonlyMap<string, number>, name: string) => {
    const fd = found.get(name);
    if (fd === undefined) throw new Error(`${path} has no ${kind} ${name}`);
    return fd;
  };
  return {
    program: (name) => find('program', programs, name),
    map: (name) => find('map', maps, name),
    close: () => closeObject(object),
  };
}

export function programInfo(fd: number): ProgramInfo {
  const ids = koffi.alloc('uint32', mostMapIds) as bigint;
  try {
    // struct bpf_prog_info, as far as it has been the same since Linux 4.15.
    const info = Buffer.alloc(80);
    info.writeUInt32LE(mostMapIds, 52);
    info.writeBigUInt64LE(koffi.address(ids), 56);
    checkBpf('bpf_obj_get_info_by_fd', lib().info(fd, info, [info.length]) as number);
    const mapIds = koffi.decode(ids, koffi.array('uint32', mostMapIds)) as ArrayLike<number>;
    return {
      id: info.readUInt32LE(4),
      tag: info.toString('hex', 8, 16),
      name: info.toString('latin1', 64, 80).replace(/\0.*$/s, ''),
      mapIds: Array.from(mapIds).slice(0, info.readUInt32LE(52)),
    };
  } finally {
    koffi.free(ids);
  }
}

/** @returns undefined when the program is gone */
export function programInfoById(id: number): ProgramInfo | undefined {
  const fd = lib().programById(id) as number;
  if (-fd === errno.ENOENT) return undefined;
  checkBpf(`bpf_prog_get_fd_by_id ${id}`, fd);
  try {
    return programInfo(fd);
  } finally {
    closeFd(fd);
  }
}
