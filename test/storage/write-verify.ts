import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { attachSpec } from './lun-server.js';
import type { StorageWorld } from './storage-cases.js';

/**
 * Writes by many ways at once, reads all of it back with checksums, and then again from elsewhere: the
 * file behind the LUN, or another host's mount. Whatever a layer loses, tears or mixes up shows.
 */
const never = new AbortController().signal;
const run = promisify(execFile);
const mebibyte = 1024 * 1024;

export type VerifyWorld = Pick<StorageWorld, 'portal' | 'directory' | 'open' | 'lun'>;

/** One fio(1) job; each write carries a checksum of itself and its place. */
function job(name: string, options: Readonly<Record<string, string | number>>): readonly string[] {
  const all = {
    verify: 'crc32c',
    verify_fatal: 1,
    verify_state_save: 0,
    randrepeat: 0,
    allrandrepeat: 0,
    ...options,
  };
  return [`--name=${name}`, ...Object.entries(all).map(([key, value]) => `--${key}=${value}`)];
}

async function fio(seed: number, seconds: number, argv: readonly string[]): Promise<void> {
  const limits = [
    '--runtime=600',
    `--randseed=${seed}`,
    '--output-format=terse',
    '--group_reporting',
  ];
  // Longer than it should ever take: to hang is a failure, too.
  const timeout = (seconds + 120) * 1_000;
  await run('fio', [...limits, ...argv], { timeout, maxBuffer: 4 * mebibyte }).catch((thrown) => {
    const { stdout = '', stderr = '' } = thrown as { stdout?: string; stderr?: string };
    throw new Error(`fio: ${stderr}${stdout}`.slice(0, 2_000));
  });
}

/**
 * The block device itself, full of garbage: aligned and by single sectors, deep queues, zeroes, discards.
 *
 * @param eachMiB what each job writes
 */
export async function verifyDevice(t: Test, world: VerifyWorld, round: number, eachMiB = 8) {
  const { file, ...lun } = world.lun();
  writeFileSync(file, Buffer.alloc(64 * mebibyte, 0xa5), { flag: 'r+' });
  const storage = await world.open(t, join(world.directory, `device${round}`));
  const spec = { ...attachSpec(world, lun), filesystem: 'none', format: 'never' } as const;
  const { device } = await storage.attach(spec, never);
  const place = (at: number) => ({ filename: device, offset: `${at}m`, size: `${eachMiB}m` });
  const direct = { ioengine: 'libaio', direct: 1, iodepth: 32 };
  await fio(round, 10, [
    ...job('pages', { ...place(0), ...direct, rw: 'randwrite', bs: '4k' }),
    ...job('sectors', { ...place(12), ...direct, rw: 'randwrite', bsrange: '512-64k' }),
    ...job('buffered', {
      ...place(24),
      rw: 'randrw',
      bsrange: '512-16k',
      bs_unaligned: 1,
      fsync: 32,
    }),
    ...job('large', { ...place(36), ...direct, rw: 'write', bs: '1m' }),
  ]);
  execFileSync('blkdiscard', ['-z', '-o', `${50 * mebibyte}`, '-l', `${mebibyte}`, device]);
  // To be refused is right where the LUN has no discards, to be ignored is not.
  const discard = ['-o', `${52 * mebibyte}`, '-l', `${mebibyte}`, device];
  const discarded = await run('blkdiscard', discard).then(
    () => true,
    () => false,
  );
  execFileSync('sync', [device]);
  const bytes = readFileSync(file);
  const filled = (at: number, byte: number) =>
    bytes.subarray(at * mebibyte, (at + 1) * mebibyte).every((found) => found === byte);
  t.ok(filled(50, 0), 'what was zeroed is zero behind the LUN');
  t.ok(filled(51, 0xa5), 'its neighbour is as it was');
  t.ok(filled(52, discarded ? 0 : 0xa5), `a discard ${discarded ? 'zeroes' : 'is refused'}`);
  t.equal(await digest(device), await digest(file), 'the device reads as what is behind the LUN');
  await storage.detach('web1', 0, never);
}

/** Files on a mounted volume; then moved to another host, which reads them once more. */
export async function verifyFiles(
  t: Test,
  world: VerifyWorld,
  round: number,
  filesystem: 'ext4' | 'xfs',
  eachMiB = 8,
) {
  const { file: _, ...lun } = world.lun(filesystem === 'xfs' ? 320 : 96);
  const host = (name: string) =>
    world.open(t, join(world.directory, `${name}-${filesystem}-${round}`));
  const [one, two] = [await host('h1'), await host('h2')];
  const spec = attachSpec(world, { ...lun, filesystem });
  const jobs = (mount: string, more: Readonly<Record<string, string | number>> = {}) => {
    const place = { directory: mount, ...more };
    const size = `${eachMiB}m`;
    const direct = { ioengine: 'libaio', direct: 1, iodepth: 32 };
    const storm = { rw: 'write', bs: '4k', fsync: 1, size: `${eachMiB * 256}k`, numjobs: 4 };
    return [
      ...job('pages', { ...place, ...direct, rw: 'randwrite', bs: '4k', size }),
      ...job('odd', { ...place, rw: 'randwrite', bsrange: '512-64k', bs_unaligned: 1, size }),
      ...job('storm', { ...place, ...storm }),
    ];
  };
  const first = await one.attach(spec, never);
  await fio(round, 10, jobs(first.hostMount));
  const hole = join(first.hostMount, 'hole');
  execFileSync('cp', [join(first.hostMount, 'pages.0.0'), hole]);
  const [punched, zeroed] = [mebibyte / 2, mebibyte];
  execFileSync('fallocate', ['-p', '-o', `${punched}`, '-l', '65536', hole]);
  execFileSync('fallocate', ['-z', '-o', `${zeroed}`, '-l', '65536', hole]);
  await one.detach('web1', 0, never);

  const moved = { ...spec, host: 'h2', epoch: 2, format: 'never' } as const;
  const second = await two.attach(moved, never);
  await fio(round, 10, jobs(second.hostMount, { verify_only: 1 }));
  const bytes = readFileSync(join(second.hostMount, 'hole'));
  for (const at of [punched, zeroed]) {
    t.ok(
      bytes.subarray(at, at + 65536).every((byte) => byte === 0),
      `${filesystem}: a hole at ${at} is zero`,
    );
  }
  await two.detach('web1', 0, never);
  t.pass(`${filesystem}: all was read back, here and on the next host`);
}

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: mebibyte })) {
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}
