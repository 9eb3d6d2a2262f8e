/**
 * The kernel's map that holds the end of one incarnation's lease. The tc guard passes a frame only
 * while bpf_ktime_get_boot_ns() is less than it.
 */
export interface LeaseMap {
  /** Writes the deadline if it is later than the one there. */
  raise(deadlineNs: bigint): void;
  read(): bigint;
  close(): void;
}

export type OpenLeaseMap = (path: string) => LeaseMap;

/** Not enforced: no clock ever passes it. */
export const noLimitNs = 0xffff_ffff_ffff_ffffn;
