import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { format } from '../../src/storage/filesystem.js';
import { attachSpec } from './lun-server.js';

/** What ext4 on a disk of that size says of itself. */
async function formatted(sizeBytes: number): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'format-'));
  try {
    const path = join(directory, 'disk');
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
    const never = () => Promise.reject(new Error('it takes writes'));
    await format(
      attachSpec({ portal: 'none' }),
      { path, sizeBytes },
      AbortSignal.timeout(60_000),
      never,
    );
    return execFileSync('dumpe2fs', ['-h', path], { encoding: 'utf8', stdio: 'pipe' });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('ext4 has large blocks, for a journal is read by the block', async (t) => {
  const said = await formatted(64 * 1024 * 1024);
  t.match(said, /^Block size: +4096$/m);
  t.match(said, /^Filesystem features: .*\bhas_journal\b/m);
});

test('a small one has small blocks, and a journal', async (t) => {
  const said = await formatted(4 * 1024 * 1024);
  t.match(said, /^Block size: +1024$/m);
  t.match(said, /^Filesystem features: .*\bhas_journal\b/m);
});
