import { openLease } from '../bpf/lease.js';
import { closeFd, lookupElement, updateElement } from '../ffi/bpf-map.js';

const onlySlot = Buffer.alloc(4);

/** The end of a host's lease as the kernel enforces it: ns of the boot clock. */
export interface LeaseMapHandle {
  /** Writes the deadline if it is later than the one there. For one writer: pulse. */
  raise(deadlineNs: bigint): void;
  /** 0: nothing may pass; all ones: no limit. */
  read(): bigint;
  close(): void;
}

/**
 * Opens the pinned map of one incarnation.
 *
 * @throws {UnderstudyError} US_GUARD_NO_LEASE when it is not there, or is something else
 */
export function openLeaseMap(path: string): LeaseMapHandle {
  let fd: number | undefined = openLease(path);
  const opened = () => {
    // A number that was closed may be somebody else's by now.
    if (fd === undefined) throw new Error(`${path} is closed`);
    return fd;
  };
  const value = new BigUint64Array(1);
  const bytes = new Uint8Array(value.buffer);
  const read = () => {
    lookupElement(opened(), onlySlot, bytes);
    return value[0] ?? 0n;
  };
  return {
    read,
    raise(deadlineNs) {
      if (deadlineNs <= read()) return;
      value[0] = deadlineNs;
      updateElement(opened(), onlySlot, bytes);
    },
    close() {
      if (fd !== undefined) closeFd(fd);
      fd = undefined;
    },
  };
}
