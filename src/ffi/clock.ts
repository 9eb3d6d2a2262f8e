import { readFileSync } from 'node:fs';
import { check, libc } from './libc.js';

/** <linux/time.h>: monotonic, goes on through suspend; what bpf_ktime_get_boot_ns() reads. */
const CLOCK_BOOTTIME = 7;
const clockGettime = libc.func('int clock_gettime(int clock, void *time)') as (
  clock: number,
  time: BigInt64Array,
) => number;
/** struct timespec of a 64-bit kernel: seconds, nanoseconds. */
const time = new BigInt64Array(2);

/** Boot clock in ns; about 100 ns a call. */
export function bootNs(): bigint {
  check('clock_gettime', clockGettime(CLOCK_BOOTTIME, time));
  return (time[0] ?? 0n) * 1_000_000_000n + (time[1] ?? 0n);
}

/** Boot clock in ms, with fraction. */
export function bootMs(): number {
  return Number(bootNs()) / 1e6;
}

/** The kernel's name for this boot (random(4)); the same in all its namespaces. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/**
 * How far the boot clock that this process sees is ahead of the kernel's own, ns: not 0 in a time
 * namespace with an offset (time_namespaces(7)). BPF programs see the kernel's.
 */
export function bootOffsetNs(): bigint {
  let offsets: string;
  try {
    offsets = readFileSync('/proc/self/timens_offsets', 'utf8');
  } catch {
    return 0n; // a kernel without time namespaces
  }
  const [, seconds = '0', ns = '0'] = /^boottime\s+(-?\d+)\s+(\d+)/m.exec(offsets) ?? [];
  return BigInt(seconds) * 1_000_000_000n + BigInt(ns);
}
