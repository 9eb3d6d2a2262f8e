import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import tap, { test } from 'tap';
import { freshTarget, tgtWorld } from '../storage/attached.js';
import { attachSpec, startTgtd } from '../storage/lun-server.js';
import { refusalCases } from '../storage/refusal-cases.js';
import { storageCases } from '../storage/storage-cases.js';
import { verifyDevice, verifyFiles } from '../storage/write-verify.js';
import { startInitiator } from './initiator.js';
import { connections } from './kernel-options.js';
import { kernelWorld } from './kernel-world.js';

/** Run in a guest whose kernel has an iSCSI initiator: its volumes on tgt. */
tap.setTimeout(600_000);
const never = new AbortController().signal;

test('the kernel backend on tgt', async (t) => {
  startInitiator(t);
  const server = await startTgtd(t);
  const { open, gone } = kernelWorld;
  const world = { ...tgtWorld(server), open, gone };
  await storageCases(t, world);
  await refusalCases(t, world);
  await t.test('digests of headers and data, where the target asks for them', async (t) => {
    const { name, tid } = freshTarget(server);
    const update = ['--op', 'update', '--mode', 'target', '--tid', String(tid)];
    for (const digest of ['HeaderDigest', 'DataDigest']) {
      server.tgtadm(...update, '--name', digest, '--value', 'CRC32C');
    }
    const storage = await open(t, join(server.directory, 'digests'));
    const { hostMount } = await storage.attach(attachSpec(server, { target: name }), never);
    t.same([connections('header_digest'), connections('data_digest')], [['1'], ['1']]);
    writeFileSync(join(hostMount, 'note'), 'kept', { flush: true });
    await storage.detach('web1', 0, never);
  });

  for (const [round, thin] of [false, true].entries()) {
    await t.test(`what is written is there, ${thin ? 'with' : 'without'} discards`, async (t) => {
      const kind = { ...world, lun: (sizeMiB?: number) => world.lun(sizeMiB, { thin }) };
      await verifyDevice(t, kind, round, 1);
      await verifyFiles(t, kind, round, 'ext4', 1);
    });
  }
});
