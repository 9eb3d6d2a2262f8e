import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { attachSpec, until } from './lun-server.js';
import type { StorageWorld } from './storage-cases.js';

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;
/** Two groups of blocks of 4 KiB. */
const sizeMiB = 160;

/**
 * ext4 on a LUN that is full of garbage wherever nobody looks before formatting: once the kernel's lazy
 * zeroing has said that it is done, none of it is in an inode table.
 */
export async function lazyTables(
  t: Test,
  world: Pick<StorageWorld, 'portal' | 'directory' | 'open' | 'lun'>,
): Promise<void> {
  const { file, ...lun } = world.lun(sizeMiB);
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.alloc((sizeMiB - 2) * mebibyte, 0xa5), 0, undefined, mebibyte);
  closeSync(fd);
  const storage = await world.open(t, join(world.directory, 'lazy'));
  const volume = await storage.attach(attachSpec(world, lun), never);
  // ext4lazyinit rests ten times as long as it worked; not with this.
  execFileSync('mount', ['-o', 'remount,init_itable=0', volume.hostMount]);
  // It marks each group once its table is written.
  await until(() => {
    execFileSync('sync', ['-f', volume.hostMount]);
    const flags = [...dump(volume.device).matchAll(/^Group \d+:.*\[(.*)\]/gm)];
    return flags.length > 1 && flags.every(([, text = '']) => text.includes('ITABLE_ZEROED'));
  }, 60_000);
  await storage.detach('web1', 0, never);
  const [disk, text] = [readFileSync(file), dump(file)];
  const blockSize = Number(/^Block size:\s+(\d+)/m.exec(text)?.[1]);
  const used = blockSize * 8;
  for (const [group, [, first, last]] of [
    ...text.matchAll(/Inode table at (\d+)-(\d+)/g),
  ].entries()) {
    const table = disk.subarray(
      Number(first) * blockSize + (group === 0 ? used : 0),
      (Number(last) + 1) * blockSize,
    );
    t.notOk(table.includes(Buffer.alloc(64, 0xa5)), `inode table at block ${first}`);
  }
  execFileSync('e2fsck', ['-fn', file], { stdio: 'ignore' });
}

function dump(disk: string): string {
  return execFileSync('dumpe2fs', [disk], {
    ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    maxBuffer: mebibyte,
  });
}
