import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import { DiskProcess, endProcess } from '../../src/storage/disk-process.js';
import { bindLoop, releaseLoop } from '../../src/storage/loop-device.js';
import { UserStorage } from '../../src/storage/user-storage.js';
import { attachSpec, type LunServer } from './lun-server.js';

/**
 * Writes by many ways at once, reads all of it back with checksums, and then again from elsewhere: the
 * file behind the LUN, or another host's mount. Whatever a layer loses, tears or mixes up shows.
 */
const never = new AbortController().signal;
const run = promisify(execFile);
const mebibyte = 1024 * 1024;

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

/** The block device itself: aligned and by single sectors, deep queues, zeroes, discards. */
export async function verifyDevice(t: Test, server: LunServer, tid: number, round: number) {
  const target = `iqn.2026-11.test:device${tid}`;
  const file = server.addTarget({ tid, name: target });
  writeFileSync(file, Buffer.alloc(64 * mebibyte, 0xa5), { flag: 'r+' });
  const directory = join(server.directory, `device${tid}`);
  const disk = await DiskProcess.start(directory, 5_000);
  const exportFile = join(directory, 'lun.img');
  try {
    writeFileSync(exportFile, '');
    const initiator = 'iqn.2026-11.test:me';
    const path = { portal: server.portal, target, lun: 1, initiator };
    await disk.open({ ...path, chap: undefined, readOnly: false }, 5_000);
    const exposed = await disk.expose(exportFile, 5_000);
    const format = { blockSizeBytes: 512, readOnly: false };
    const loop = await bindLoop(exposed, format, never);
    try {
      const place = (at: number) => ({ filename: loop.path, offset: `${at}m`, size: '8m' });
      const direct = { ioengine: 'libaio', direct: 1, iodepth: 32 };
      await fio(round, 10, [
        ...job('pages', { ...place(0), ...direct, rw: 'randwrite', bs: '4k' }),
        ...job('sectors', {
          ...place(12),
          ...direct,
          rw: 'randwrite',
          bsrange: '512-64k',
        }),
        ...job('buffered', {
          ...place(24),
          rw: 'randrw',
          bsrange: '512-16k',
          bs_unaligned: 1,
          fsync: 32,
        }),
        ...job('large', { ...place(36), ...direct, rw: 'write', bs: '1m' }),
      ]);
      execFileSync('blkdiscard', ['-z', '-o', `${50 * mebibyte}`, '-l', `${mebibyte}`, loop.path]);
      // Discards are off: to be refused is right, to be ignored is not.
      const discard = ['-o', `${52 * mebibyte}`, '-l', `${mebibyte}`, loop.path];
      const discarded = await run('blkdiscard', discard).then(
        () => true,
        () => false,
      );
      execFileSync('sync', [loop.path]);
      const bytes = readFileSync(file);
      const filled = (at: number, byte: number) =>
        bytes.subarray(at * mebibyte, (at + 1) * mebibyte).every((found) => found === byte);
      t.ok(filled(50, 0), 'what was zeroed is zero behind the LUN');
      t.ok(filled(51, 0xa5), 'its neighbour is as it was');
      t.ok(filled(52, discarded ? 0 : 0xa5), `a discard ${discarded ? 'zeroes' : 'is refused'}`);
      t.equal(
        await digest(loop.path),
        await digest(file),
        'the device reads as what is behind the LUN',
      );
    } finally {
      await loop.close();
      await releaseLoop(loop.index, exportFile);
    }
  } finally {
    disk.leave();
    await endProcess(disk.identity, 'SIGTERM', 2_000);
  }
}

/** Files on a mounted volume; then moved to another host, which reads them once more. */
export async function verifyFiles(
  t: Test,
  server: LunServer,
  tid: number,
  round: number,
  filesystem: 'ext4' | 'xfs',
) {
  const target = `iqn.2026-11.test:files${tid}`;
  const sizeBytes = (filesystem === 'xfs' ? 320 : 96) * mebibyte;
  server.addTarget({ tid, name: target, sizeBytes });
  const hosts = ['h1', 'h2'].map((name) => {
    const runDirectory = join(server.directory, `${name}-${tid}`);
    mkdirSync(runDirectory);
    return new UserStorage({ runDirectory });
  });
  const [one, two] = hosts;
  if (one === undefined || two === undefined) throw new Error('two hosts');
  const spec = attachSpec(server, { target, filesystem });
  const jobs = (mount: string, more: Readonly<Record<string, string | number>> = {}) => {
    const place = { directory: mount, ...more };
    const direct = { ioengine: 'libaio', direct: 1, iodepth: 32 };
    return [
      ...job('pages', { ...place, ...direct, rw: 'randwrite', bs: '4k', size: '8m' }),
      ...job('odd', {
        ...place,
        rw: 'randwrite',
        bsrange: '512-64k',
        bs_unaligned: 1,
        size: '8m',
      }),
      ...job('storm', { ...place, rw: 'write', bs: '4k', fsync: 1, size: '2m', numjobs: 4 }),
    ];
  };
  try {
    for (const host of hosts) await host.start(never);
    const first = await one.attach(spec, never);
    await fio(round, 10, jobs(first.hostMount));
    const hole = join(first.hostMount, 'pages.0.0');
    execFileSync('cp', [hole, join(first.hostMount, 'hole')]);
    execFileSync('fallocate', [
      '-p',
      '-o',
      '1048576',
      '-l',
      '65536',
      join(first.hostMount, 'hole'),
    ]);
    execFileSync('fallocate', [
      '-z',
      '-o',
      '2097152',
      '-l',
      '65536',
      join(first.hostMount, 'hole'),
    ]);
    await one.detach('web1', 0, never);

    const moved = { ...spec, host: 'h2', epoch: 2, format: 'never' } as const;
    const second = await two.attach(moved, never);
    await fio(round, 10, jobs(second.hostMount, { verify_only: 1 }));
    const bytes = readFileSync(join(second.hostMount, 'hole'));
    for (const at of [1048576, 2097152]) {
      t.ok(
        bytes.subarray(at, at + 65536).every((byte) => byte === 0),
        `${filesystem}: a hole at ${at} is zero`,
      );
    }
    await two.detach('web1', 0, never);
    t.pass(`${filesystem}: all was read back, here and on the next host`);
  } finally {
    for (const host of hosts) {
      for (const { personality, lun } of await host.observe(never)) {
        await host.abort(personality, lun, never);
      }
      await host.stop();
    }
  }
}

async function digest(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: mebibyte })) {
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}
