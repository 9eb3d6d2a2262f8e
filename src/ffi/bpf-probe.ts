import koffi from 'koffi';
import { closeFd } from './bpf-map.js';
import { checkBpf } from './libbpf.js';

/** `enum bpf_prog_type` of include/uapi/linux/bpf.h. */
export const programType = { tc: 3, xdp: 6 } as const;

/** `r0 = 2; exit`: TC_ACT_SHOT, XDP_PASS. */
const instructions = Buffer.from('b700000002000000' + '9500000000000000', 'hex');

/** Whether the kernel takes a program of this type. @throws {SystemCallError} why it does not */
export function loadTrivialProgram(type: number): void {
  const load = koffi
    .load('libbpf.so.1')
    .func(
      'int bpf_prog_load(int type, const char *name, const char *license, void *instructions, size_t count, void *options)',
    );
  closeFd(checkBpf('bpf_prog_load', load(type, 'us_probe', 'GPL', instructions, 2, null)));
}

/** '1.1'. */
export function libbpfVersion(): string {
  const version = koffi.load('libbpf.so.1').func('const char *libbpf_version_string()');
  return version() as string;
}

/** Whether a shared library can be loaded. @throws what the loader says */
export function loadLibrary(name: string): void {
  koffi.load(name);
}
