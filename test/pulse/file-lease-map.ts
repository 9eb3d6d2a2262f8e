import { closeSync, existsSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import type { LeaseMap } from '../../src/pulse/lease-map.js';

/** Stands in for the pinned BPF map: eight bytes in a file, which a test reads from outside. */
export function openFileLeaseMap(path: string): LeaseMap {
  const file = openSync(path, existsSync(path) ? 'r+' : 'w+');
  const bytes = Buffer.alloc(8);
  const read = () => {
    bytes.fill(0);
    readSync(file, bytes, 0, 8, 0);
    return bytes.readBigUInt64BE();
  };
  return {
    read,
    raise(deadlineNs) {
      if (deadlineNs <= read()) return;
      bytes.writeBigUInt64BE(deadlineNs);
      writeSync(file, bytes, 0, 8, 0);
    },
    close: () => closeSync(file),
  };
}

/** The deadline in the map, 0n while there is none. */
export function readDeadlineNs(path: string): bigint {
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  return bytes.length === 8 ? bytes.readBigUInt64BE() : 0n;
}
