import koffi from 'koffi';
import { interfaceIndex } from '../src/ffi/bpf-filter.js';
import { inNetworkNamespace } from '../src/ffi/namespace.js';

const libbpf = koffi.load('libbpf.so.1');
const load = libbpf.func(
  'int bpf_prog_load(int type, const char *name, const char *license, void *code, size_t count, void *options)',
);
const attach = libbpf.func(
  'int bpf_xdp_attach(int index, int program, uint32_t flags, void *options)',
);

const BPF_PROG_TYPE_XDP = 6;
/** r0 = XDP_PASS; exit */
const code = Buffer.from('b700000002000000' + '9500000000000000', 'hex');

/** Somebody else's XDP program on a NIC: lets everything pass. It ends with the NIC. */
export function attachXdpPass(namespacePath: string, device: string): void {
  const program = load(BPF_PROG_TYPE_XDP, 'ustest_pass', 'GPL', code, 2, null) as number;
  if (program < 0) throw new Error(`bpf_prog_load: errno ${-program}`);
  const result = inNetworkNamespace(
    namespacePath,
    () => attach(interfaceIndex(device), program, 0, null) as number,
  );
  if (result < 0) throw new Error(`bpf_xdp_attach ${device}: errno ${-result}`);
}
