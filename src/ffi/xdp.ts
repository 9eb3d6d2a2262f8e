import koffi from 'koffi';
import { checkBpf } from './libbpf.js';

/**
 * XDP programs on NICs, by bpf_link (since Linux 5.9): nobody replaces a program that a link holds, and
 * a link takes no place that somebody has. What names an interface belongs inside `inNetworkNamespace`.
 */
const BPF_XDP = 37;
/** XDP_FLAGS_…: in the driver, or generic, before the stack. */
const modeFlags = { native: 4, generic: 2 } as const;
export type XdpMode = keyof typeof modeFlags;
/** struct bpf_link_create_opts, as far as it is used: size, flags. */
const optionsBytes = 16;

function bind() {
  const library = koffi.load('libbpf.so.1');
  return {
    create: library.func(
      'int bpf_link_create(int program, int target, int type, const void *options)',
    ),
    update: library.func('int bpf_link_update(int link, int program, const void *options)'),
    query: library.func('int bpf_xdp_query_id(int index, int flags, _Out_ uint32 *id)'),
  };
}

let bound: ReturnType<typeof bind> | undefined;
function lib(): ReturnType<typeof bind> {
  bound ??= bind();
  return bound;
}

/**
 * Equals: `ip link set dev DEV xdpdrv …` (or `xdpgeneric`), for as long as the link is held or pinned.
 *
 * @returns a descriptor of the link, to be closed
 * @throws {SystemCallError} EBUSY, EEXIST: another program is there; EOPNOTSUPP: the driver has no XDP
 */
export function attachXdp(interfaceIndex: number, programFd: number, mode: XdpMode): number {
  const options = Buffer.alloc(optionsBytes);
  options.writeBigUInt64LE(BigInt(optionsBytes), 0);
  options.writeUInt32LE(modeFlags[mode], 8);
  const link = lib().create(programFd, interfaceIndex, BPF_XDP, options) as number;
  return checkBpf('bpf_link_create', link);
}

/** Another program in the same place, with no packet in between. */
export function updateXdp(linkFd: number, programFd: number): void {
  checkBpf('bpf_link_update', lib().update(linkFd, programFd, null) as number);
}

/** Equals: `ip link show dev DEV`. @returns the program's id; undefined for none */
export function queryXdp(interfaceIndex: number): number | undefined {
  const id: [number] = [0];
  checkBpf('bpf_xdp_query_id', lib().query(interfaceIndex, 0, id) as number);
  return id[0] === 0 ? undefined : id[0];
}
