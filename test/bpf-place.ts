import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BpfLog, BpfPlace } from '../src/bpf/place.js';

export const quiet: BpfLog = { info: () => {}, warn: () => {} };

/** A bpf filesystem of a test's own, away again at its end. */
export function ownBpffs(t: { teardown(action: () => void): void }): BpfPlace {
  const bpffs = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-bpffs-`));
  t.teardown(() => {
    execFileSync('umount', [bpffs]);
    rmdirSync(bpffs);
  });
  return { bpffs, mountBpffs: true };
}
