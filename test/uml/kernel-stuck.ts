import { execFileSync, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import tap, { type Test, test } from 'tap';
import { mapStatus } from '../../src/ffi/device-mapper.js';
import { allMaps, failedPaths } from '../../src/storage/kernel-map.js';
import { IscsiProxy } from '../storage/iscsi-proxy.js';
import { attachSpec, until } from '../storage/lun-server.js';
import { startTalkingInitiator } from './initiator.js';
import { freshLun, kernelWorld, ourSessions } from './kernel-world.js';
import { addPortal, lioPort, startLio } from './lio.js';

/**
 * Run in a guest with LIO and an iSCSI initiator: a portal that takes connections and ends them while iscsid
 * logs in again, until iscsid and the kernel each wait for the other.
 *
 * Argument: `paths` for a volume with two portals, of which one is such.
 */
tap.setTimeout(280_000);
const never = new AbortController().signal;
/** What may pass from the moment the portal is well again to the next acknowledged write. */
const mostResumeMs = 30_000;
const run = (name: string) => join(kernelWorld.directory, name);

test('sessions that would never log in again', async (t) => {
  startLio();
  const said = await startTalkingInitiator(t);
  if (process.argv[2] === 'paths') await onePath(t, said);
  else await oneSession(t, said);
});

async function oneSession(t: Test, said: Interface): Promise<void> {
  const proxy = await IscsiProxy.start(t, { port: 3261, targetPort: lioPort });
  const storage = await kernelWorld.open(t, run('stuck'));
  const { file, ...lun } = freshLun();
  const volume = await storage.attach(attachSpec({ portal: proxy.portal }, lun), never);
  const trouble = () => storage.trouble?.('web1', 0)?.code;
  const writer = new Writer(t, join(volume.hostMount, 'lines'));
  await writer.lines(20);
  const sessions = await ourSessions();

  const stuck = untilStuck(said);
  await proxy.hangUp();
  await stuck;
  t.pass('iscsid connects, and the kernel takes no connection');
  await proxy.restore();
  const backMs = performance.now();
  await writer.lines(1);
  t.pass(`writes go on ${Math.round(performance.now() - backMs)} ms after the portal is well`);
  await writer.lines(20);
  t.equal(trouble(), undefined);

  await proxy.hangUp();
  await until(() => trouble() === 'US_STORAGE_SESSION', mostResumeMs);
  t.pass('that a portal answers to no avail is told');
  await proxy.restore();
  await writer.lines(20);
  await until(() => trouble() === undefined);

  t.same(await ourSessions(), sessions, 'all by the same session');
  t.same(await storage.observe(never), [volume], 'and the same data path');
  await writer.end(t);
  await storage.detach('web1', 0, never);
  execFileSync('e2fsck', ['-fn', file], { stdio: 'pipe' });
  t.pass('the file system is whole');
}

async function onePath(t: Test, said: Interface): Promise<void> {
  const second = '127.0.0.2:3260';
  addPortal(second);
  const proxy = await IscsiProxy.start(t, { port: 3262, targetPort: lioPort });
  const storage = await kernelWorld.open(t, run('path'));
  const { file, ...lun } = freshLun();
  const portals = [proxy.portal, second];
  const spec = { ...attachSpec(proxy, lun), portals, fence: 'reservation' } as const;
  await storage.fence(spec, never);
  const volume = await storage.attach(spec, never);
  const sessions = await ourSessions();
  t.equal(sessions.length, 2);
  const [map] = await allMaps();
  const failed = async () => failedPaths(await mapStatus(map?.name ?? '')).length;
  const writer = new Writer(t, join(volume.hostMount, 'lines'));
  await writer.lines(20);

  const stuck = untilStuck(said);
  await proxy.hangUp();
  await Promise.all([stuck, until(async () => (await failed()) === 1, mostResumeMs)]);
  await writer.lines(20);
  t.pass('iscsid connects, the kernel takes no connection, writes go on by the other path');
  t.equal(storage.trouble?.('web1', 0), undefined, 'so nothing stands still');
  await proxy.restore();
  await until(async () => (await failed()) === 0, mostResumeMs);
  t.same(await ourSessions(), sessions, 'the path is back by the same session');
  await writer.lines(20);
  await writer.end(t);
  await storage.detach('web1', 0, never);
  execFileSync('e2fsck', ['-fn', file], { stdio: 'pipe' });
  t.pass('the file system is whole');
}

async function untilStuck(said: Interface): Promise<void> {
  for await (const [line] of on(said, 'line')) {
    if (/can't bind conn .* retcode -107/.test(line)) return;
  }
}

/** Writes line after line to a file and says of each when it was synced. */
class Writer {
  readonly #process;
  readonly #ended;
  readonly #said: Interface;
  readonly #file: string;
  #last = 0;

  constructor(t: Test, file: string) {
    const loop =
      'i=0; while :; do i=$((i+1)); echo $i >> "$1" && sync "$1" && echo $i || exit 1; done';
    this.#file = file;
    this.#process = spawn('sh', ['-c', loop, 'sh', file]);
    this.#ended = once(this.#process, 'close');
    t.teardown(() => this.#process.kill('SIGKILL'));
    this.#said = createInterface({ input: this.#process.stdout });
    this.#said.on('line', (line) => {
      this.#last = Number(line);
    });
  }

  /** Waits for so many more. */
  async lines(count: number): Promise<void> {
    for (const aim = this.#last + count; this.#last < aim; ) {
      await once(this.#said, 'line', { signal: AbortSignal.timeout(mostResumeMs) });
    }
  }

  async end(t: Test): Promise<void> {
    t.equal(this.#process.exitCode, null, 'no write has failed');
    this.#process.kill('SIGKILL');
    await this.#ended;
    const kept = readFileSync(this.#file, 'utf8').trim().split('\n').map(Number);
    t.ok(
      kept.length >= this.#last && kept.every((line, at) => line === at + 1),
      `all ${this.#last} acknowledged lines are there`,
    );
  }
}
