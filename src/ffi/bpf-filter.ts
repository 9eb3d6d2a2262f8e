import koffi from 'koffi';
import { checkBpf } from './libbpf.js';
import { errno, libc, SystemCallError } from './libc.js';

/**
 * tc filters (cls_bpf, direct action) through libbpf. Each call asks rtnetlink in the calling
 * thread's network namespace, so it belongs inside `inNetworkNamespace`.
 *
 * A filter is found by its place: hook, priority and handle. Whose program is there is for the caller
 * to look at; nothing here removes or replaces what it was not told to.
 */
export type Hook = 'ingress' | 'egress';

export interface FilterPlace {
  readonly interfaceIndex: number;
  readonly hook: Hook;
  /** Filters run from the lowest. */
  readonly priority: number;
  readonly handle: number;
}

/** enum bpf_tc_attach_point. */
const attachPoints = { ingress: 1, egress: 2 } as const;
const BPF_TC_F_REPLACE = 1;
/** struct bpf_tc_hook: size, interface, attach point, parent. */
const hookBytes = 24;
/** struct bpf_tc_opts: size, program descriptor, flags, program id, handle, priority. */
const optionsBytes = 32;

function bind() {
  const library = koffi.load('libbpf.so.1');
  return {
    createHook: library.func('int bpf_tc_hook_create(void *hook)'),
    attach: library.func('int bpf_tc_attach(void *hook, void *options)'),
    detach: library.func('int bpf_tc_detach(void *hook, void *options)'),
    query: library.func('int bpf_tc_query(void *hook, void *options)'),
  };
}

let bound: ReturnType<typeof bind> | undefined;
function lib(): ReturnType<typeof bind> {
  bound ??= bind();
  return bound;
}

const libcNameToIndex = libc.func('uint32 if_nametoindex(const char *name)');

/** @throws {SystemCallError} ENODEV */
export function interfaceIndex(name: string): number {
  const index = libcNameToIndex(name) as number;
  if (index === 0) throw new SystemCallError(`if_nametoindex ${name}`, koffi.errno());
  return index;
}

/**
 * Makes room for filters at both hooks; what is there already stays.
 *
 * Equals: `tc qdisc add dev DEV clsact`
 */
export function ensureHooks(index: number): void {
  const hook = hookOf({ interfaceIndex: index, hook: 'ingress', priority: 0, handle: 0 });
  const result = lib().createHook(hook) as number;
  if (-result !== errno.EEXIST) checkBpf('bpf_tc_hook_create', result);
}

/** Equals: `tc filter show dev DEV HOOK pref P`. @returns the program's id; undefined for none */
export function queryFilter(place: FilterPlace): number | undefined {
  const options = optionsOf(place);
  const result = lib().query(hookOf(place), options) as number;
  // No such filter, or not even the qdisc (EINVAL: "Parent Qdisc doesn't exists").
  if (-result === errno.ENOENT || -result === errno.EINVAL) return undefined;
  checkBpf('bpf_tc_query', result);
  return options.readUInt32LE(16);
}

/**
 * Equals: `tc filter add dev DEV HOOK pref P handle H bpf direct-action …`, or with `replace`:
 * `tc filter replace …`, which swaps the program with no packet between the two.
 *
 * @throws {SystemCallError} EEXIST: the place is taken
 */
export function attachFilter(place: FilterPlace, programFd: number, replace: boolean): void {
  const options = optionsOf(place);
  options.writeInt32LE(programFd, 8);
  options.writeUInt32LE(replace ? BPF_TC_F_REPLACE : 0, 12);
  checkBpf('bpf_tc_attach', lib().attach(hookOf(place), options) as number);
}

/** Equals: `tc filter del dev DEV HOOK pref P handle H bpf` */
export function detachFilter(place: FilterPlace): void {
  const result = lib().detach(hookOf(place), optionsOf(place)) as number;
  if (-result !== errno.ENOENT) checkBpf('bpf_tc_detach', result);
}

function hookOf({ interfaceIndex: index, hook }: FilterPlace): Buffer {
  const bytes = Buffer.alloc(hookBytes);
  bytes.writeBigUInt64LE(BigInt(hookBytes), 0);
  bytes.writeInt32LE(index, 8);
  bytes.writeUInt32LE(attachPoints[hook], 12);
  return bytes;
}

function optionsOf({ handle, priority }: FilterPlace): Buffer {
  const bytes = Buffer.alloc(optionsBytes);
  bytes.writeBigUInt64LE(BigInt(optionsBytes), 0);
  bytes.writeUInt32LE(handle, 20);
  bytes.writeUInt32LE(priority, 24);
  return bytes;
}
