import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { IscsiProxy } from '../storage/iscsi-proxy.js';
import { attachSpec } from '../storage/lun-server.js';
import { kernelWorld, ourSessions } from './kernel-world.js';
import { addPortal, insistOnDigests, lioPort, resizeLun } from './lio.js';

const never = new AbortController().signal;

/** What a volume may be like, where the kernel carries it. Read-only and no file system: the compliance suite. */
export async function kernelOptions(t: Test): Promise<void> {
  const run = (name: string) => join(kernelWorld.directory, name);
  const note = (folder: string) => readFileSync(join(folder, 'note'), 'utf8');

  await t.test('a portal of IPv6, after one that does not answer', async (t) => {
    addPortal('[::1]:3265');
    const storage = await kernelWorld.open(t, run('six'));
    const { file: _, ...lun } = kernelWorld.lun();
    const spec = attachSpec({ portal: '[::1]:3265' }, lun);
    await storage.warm(spec, never);
    const { hostMount } = await storage.attach(spec, never);
    writeFileSync(join(hostMount, 'note'), 'kept', { flush: true });
    await storage.detach('web1', 0, never);
    const portals = ['[::1]:3999', ...spec.portals];
    const again = await storage.attach({ ...spec, epoch: 2, portals }, never);
    t.equal(note(again.hostMount), 'kept');
    t.same(connections('persistent_address'), ['::1']);
    await storage.detach('web1', 0, never);
  });

  await t.test('a digest of headers, where the target asks for it', async (t) => {
    insistOnDigests('HeaderDigest');
    t.teardown(() => insistOnDigests());
    const proxy = await IscsiProxy.start(t, { port: 3266, targetPort: lioPort });
    const storage = await kernelWorld.open(t, run('digests'));
    const { file: _, ...lun } = kernelWorld.lun();
    const spec = attachSpec(proxy, lun);
    const { hostMount } = await storage.attach(spec, never);
    t.same([connections('header_digest'), connections('data_digest')], [['1'], ['0']]);
    await proxy.damageOne();
    writeFileSync(join(hostMount, 'note'), 'kept', { flush: true });
    t.equal((await proxy.seen()).damage, 0, 'a write was damaged, and done again');
    await storage.detach('web1', 0, never);
    const again = await storage.attach({ ...spec, epoch: 2, format: 'never' }, never);
    t.equal(note(again.hostMount), 'kept');
    await storage.detach('web1', 0, never);
    insistOnDigests('DataDigest');
    // libiscsi, which looks at the LUN, has none.
    const refused = await storage.attach({ ...spec, epoch: 3 }, never).catch((error) => error);
    t.match(refused, { code: 'US_STORAGE_LOGIN', remedy: /digests/ }, 'one of the data is refused');
  });

  await t.test('XFS is made, mounted and, after a power cut, found again', async (t) => {
    const storage = await kernelWorld.open(t, run('xfs'));
    const { file: _, ...lun } = kernelWorld.lun(320);
    const spec = attachSpec(kernelWorld, { ...lun, filesystem: 'xfs' });
    const { hostMount } = await storage.attach(spec, never);
    writeFileSync(join(hostMount, 'note'), 'kept', { flush: true });
    await storage.abort('web1', 0, never);
    const again = await storage.attach({ ...spec, epoch: 2, format: 'never' }, never);
    t.equal(note(again.hostMount), 'kept', 'after its log was replayed');
    await storage.detach('web1', 0, never);
  });

  await t.test('a LUN that was made larger has its size at the next attach', async (t) => {
    const storage = await kernelWorld.open(t, run('larger'));
    const { file, ...lun } = kernelWorld.lun(64);
    const spec = attachSpec(kernelWorld, lun);
    const before = await storage.attach(spec, never);
    writeFileSync(join(before.hostMount, 'note'), 'kept', { flush: true });
    resizeLun(lun.targetLun, file, 96);
    t.same(await storage.observe(never), [before], 'nothing happens to who has it');
    t.same(await storage.attach(spec, never), before);
    await storage.detach('web1', 0, never);
    const after = await storage.attach({ ...spec, epoch: 2, recordedSerial: before.serial }, never);
    t.equal(after.sizeBytes, 96 * 1024 * 1024);
    t.equal(note(after.hostMount), 'kept');
    execFileSync('resize2fs', [after.device], { stdio: 'pipe' });
    await storage.detach('web1', 0, never);
    execFileSync('e2fsck', ['-fn', file], { stdio: 'pipe' });
    t.same(await ourSessions(), []);
  });
}

/** That attribute of each connection of the kernel's sessions. */
export function connections(name: string): readonly string[] {
  const root = '/sys/class/iscsi_connection';
  return readdirSync(root).map((one) => readFileSync(`${root}/${one}/${name}`, 'utf8').trim());
}
