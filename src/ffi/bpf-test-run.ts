import koffi from 'koffi';
import { checkBpf } from './libbpf.js';

/** TC_ACT_… (linux/pkt_cls.h) as a program of ours returns them. */
export const tcVerdict = { continue: -1, drop: 2, redirect: 7 } as const;
/** XDP_… (linux/bpf.h). */
export const xdpVerdict = { pass: 2, drop: 1, transmit: 3 } as const;

export interface TestRun {
  /** One of tcVerdict or xdpVerdict. */
  readonly verdict: number;
  /** The frame as the program left it. */
  readonly frame: Buffer;
  /** Average of one run. */
  readonly durationNs: number;
}

/** struct bpf_test_run_opts of libbpf 1.1. */
const optionsBytes = 88;
/** The kernel gives back at most what it got; programs that grow frames are not run here. */
const headroomBytes = 256;

let run: ((fd: number, options: Record<string, unknown>) => number) | undefined;
function lib(): (fd: number, options: Record<string, unknown>) => number {
  if (run !== undefined) return run;
  koffi.struct('bpf_test_run_opts', {
    sz: 'size_t',
    data_in: 'void *',
    data_out: 'void *',
    data_size_in: 'uint32',
    data_size_out: 'uint32',
    ctx_in: 'void *',
    ctx_out: 'void *',
    ctx_size_in: 'uint32',
    ctx_size_out: 'uint32',
    retval: 'uint32',
    repeat: 'int',
    duration: 'uint32',
    flags: 'uint32',
    cpu: 'uint32',
    batch_size: 'uint32',
  });
  run = koffi
    .load('libbpf.so.1')
    .func('int bpf_prog_test_run_opts(int fd, _Inout_ bpf_test_run_opts *options)');
  return run;
}

/**
 * Runs a tc or XDP program on a frame of at least 14 bytes without sending anything (BPF_PROG_TEST_RUN).
 *
 * Equals: `bpftool prog run id ID data_in FRAME data_out - repeat N`
 */
export function testRun(programFd: number, frame: Uint8Array, repeat = 1): TestRun {
  const out = Buffer.alloc(frame.length + headroomBytes);
  const options = call(programFd, {
    data_in: frame,
    data_out: out,
    data_size_in: frame.length,
    data_size_out: out.length,
    repeat,
  });
  return {
    verdict: Number(options.retval) | 0,
    frame: out.subarray(0, Number(options.data_size_out)),
    durationNs: Number(options.duration),
  };
}

const BPF_F_TEST_XDP_LIVE_FRAMES = 2;
/** struct xdp_md. */
const contextBytes = 24;

/**
 * Has an XDP program send frames out of a NIC of this thread's network namespace: what it returns is
 * done (XDP_TX). Since Linux 5.18.
 */
export function sendLive(
  programFd: number,
  frame: Uint8Array,
  interfaceIndex: number,
  repeat: number,
): void {
  const context = Buffer.alloc(contextBytes);
  context.writeUInt32LE(frame.length, 4);
  context.writeUInt32LE(interfaceIndex, 12);
  call(programFd, {
    data_in: frame,
    data_size_in: frame.length,
    ctx_in: context,
    ctx_size_in: context.length,
    repeat,
    flags: BPF_F_TEST_XDP_LIVE_FRAMES,
    batch_size: 64,
  });
}

function call(programFd: number, given: Record<string, unknown>): Record<string, unknown> {
  const run = lib();
  const options: Record<string, unknown> = {
    sz: optionsBytes,
    data_in: null,
    data_out: null,
    data_size_in: 0,
    data_size_out: 0,
    ctx_in: null,
    ctx_out: null,
    ctx_size_in: 0,
    ctx_size_out: 0,
    retval: 0,
    repeat: 1,
    duration: 0,
    flags: 0,
    cpu: 0,
    batch_size: 0,
    ...given,
  };
  checkBpf('bpf_prog_test_run_opts', run(programFd, options));
  return options;
}
