import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import tap, { test } from 'tap';
import type { AttachSpec } from '../../src/storage/types.js';
import { codeOf, storageIn } from '../storage/attached.js';
import { addLun, lioPortal, lioTarget, startLio } from './lio.js';

/** Run in a guest whose kernel has LIO: a target that runs out of room. */
tap.setTimeout(200_000);
const never = new AbortController().signal;
const mebibyte = 1024 * 1024;

function volumeOf(targetLun: number, epoch = 1): AttachSpec {
  return {
    ...{ cluster: 'test', personality: 'db', host: 'h1', epoch, lun: 0, volume: 'db-data' },
    ...{ portals: [lioPortal], target: lioTarget, targetLun },
    ...{ filesystem: 'ext4', format: 'if-blank', recordedSerial: undefined },
  };
}

function sparse(file: string, sizeMiB: number): string {
  execFileSync('truncate', ['-s', `${sizeMiB}M`, file]);
  return file;
}

/** A file system with so much room, for what is behind a LUN. */
function room(folder: string, size: string): string {
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  return folder;
}

test('LUNs of LIO that cannot be used', async (t) => {
  startLio();
  const storage = await storageIn(t, '/run/h1');

  await t.test('a target without room for a new file system', async (t) => {
    addLun(3, sparse(`${room('/run/full', '256k')}/disk`, 64), 64);
    t.equal(await codeOf(storage.attach(volumeOf(3), never)), 'US_STORAGE_TARGET_FULL');
    t.same(await storage.observe(never), []);
  });

  await t.test('a target that runs out of room later loses nothing that it answered', async (t) => {
    const file = sparse(`${room('/run/filling', '12m')}/disk`, 64);
    addLun(4, file, 64);
    const { hostMount } = await storage.attach(volumeOf(4), never);
    const note = randomBytes(mebibyte);
    writeFileSync(`${hostMount}/note`, note, { flush: true });
    t.throws(
      () => writeFileSync(`${hostMount}/much`, randomBytes(24 * mebibyte), { flush: true }),
      /EIO|EROFS|ENOSPC/,
      'who writes is told',
    );
    await storage.abort('db', 0, never);
    execFileSync('mount', ['-o', 'remount,size=80m', '/run/filling']);
    const again = await storage.attach(volumeOf(4, 2), never);
    t.ok(readFileSync(`${again.hostMount}/note`).equals(note), 'what was flushed is there');
    writeFileSync(`${again.hostMount}/much`, randomBytes(4 * mebibyte), { flush: true });
    await storage.detach('db', 0, never);
    execFileSync('e2fsck', ['-fn', file], { stdio: 'pipe' });
    t.pass('and the file system is whole');
  });
});
