import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Interface } from 'node:readline';
import tap, { test } from 'tap';
import { mapStatus } from '../../src/ffi/device-mapper.js';
import { allMaps, failedPaths } from '../../src/storage/kernel-map.js';
import { attachSpec, until } from '../storage/lun-server.js';
import { startTalkingInitiator } from './initiator.js';
import { freshLun, kernelWorld, ourSessions } from './kernel-world.js';
import { askForChap, lioPortal, startLio } from './lio.js';
import { StorageNetwork } from './storage-network.js';

/** Run in a guest with LIO, an iSCSI initiator and dm-multipath: host and target prove themselves on each path. */
tap.setTimeout(220_000);
const never = new AbortController().signal;
const mostMs = 30_000;
const ours = { user: 'host-user', secret: 'secret-of-the-host' };
const theirs = { user: 'target-user', secret: 'secret-of-the-target' };

test('mutual CHAP on two paths', async (t) => {
  startLio();
  const said = await startTalkingInitiator(t);
  const network = StorageNetwork.make();
  const run = join(kernelWorld.directory, 'chap');
  const storage = await kernelWorld.open(t, run);
  const file = (name: string, secret: string) => {
    writeFileSync(`/run/lio/${name}`, secret, { mode: 0o600 });
    return `/run/lio/${name}`;
  };
  const chap = {
    user: ours.user,
    secretFile: file('ours', ours.secret),
    mutual: { user: theirs.user, secretFile: file('theirs', theirs.secret) },
  };
  const { file: disk, ...lun } = freshLun();
  const portals = [lioPortal, network.portal];
  const spec = { ...attachSpec(network, lun), portals, fence: 'reservation', chap } as const;
  askForChap(ours, theirs);
  await storage.fence(spec, never);
  const volume = await storage.attach(spec, never);
  const sessions = await ourSessions();
  t.equal(sessions.length, 2);
  for (const { name } of sessions) {
    const told = (what: string) =>
      readFileSync(`/sys/class/iscsi_session/${name}/${what}`, 'utf8').trim();
    t.same([told('username'), told('username_in')], [ours.user, theirs.user], 'each by both names');
  }
  const note = (text: string) =>
    writeFileSync(join(volume.hostMount, 'note'), text, { flush: true });
  note('by both');

  const [map] = await allMaps();
  const failed = async () => failedPaths(await mapStatus(map?.name ?? '')).length;
  askForChap(ours, { ...theirs, secret: 'somebody-elses-one' });
  const refused = untilSaid(said, /mutual|authentication|auth/i);
  network.cut();
  await until(async () => (await failed()) === 1, mostMs);
  network.restore();
  await refused;
  note('by one');
  t.equal(await failed(), 1, 'a path does not come back to a target that cannot prove itself');
  askForChap(ours, theirs);
  await until(async () => (await failed()) === 0, mostMs);
  t.same(await ourSessions(), sessions, 'to one that can, it does');
  note('by both again');
  await storage.detach('web1', 0, never);
  execFileSync('e2fsck', ['-fn', disk], { stdio: 'pipe' });
  t.pass('the file system is whole');
});

async function untilSaid(said: Interface, words: RegExp): Promise<void> {
  const signal = AbortSignal.timeout(mostMs);
  for (;;) {
    const [line] = (await once(said, 'line', { signal })) as [string];
    console.log(`# ${line}`);
    if (words.test(line)) return;
  }
}
