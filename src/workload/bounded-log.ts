import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** A workload's log is in memory (/run): this much of it, and as much of what came before. */
export const longestLogBytes = 1024 * 1024;

/** Opens a log for a workload to write into, always at its end; see trimLog. */
export function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  return openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o640);
}

/**
 * Keeps a log bounded: over the limit, its newest part is copied to `PATH.1` and the file emptied.
 *
 * The workload writes into the file itself, so that it needs no helper and outlives the agent; as
 * its descriptor appends, it goes on at the new beginning. Lines written between the copy and the
 * emptying are lost. While no agent runs the log is not bounded.
 */
export function trimLog(path: string): void {
  let file: number;
  try {
    file = openSync(path, 'r+');
  } catch {
    return; // nothing was written yet
  }
  try {
    const { size } = fstatSync(file);
    if (size <= longestLogBytes) return;
    const newest = Buffer.alloc(longestLogBytes);
    const read = readSync(file, newest, 0, newest.length, size - newest.length);
    writeFileSync(`${path}.1`, newest.subarray(0, read), { mode: 0o640 });
    ftruncateSync(file, 0);
  } finally {
    closeSync(file);
  }
}
