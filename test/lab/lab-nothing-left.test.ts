import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { openProcess, waitForEnd } from '../../src/ffi/pidfd.js';
import { Lab } from '../../src/lab/lab.js';
import { collect } from '../../src/lab/shell.js';
import { findLab, type LabState, labDirectory, readState } from '../../src/lab/state.js';
import {
  buildLab,
  labName,
  leftovers,
  parsed,
  pings,
  processesOf,
  twoHosts,
  until,
} from './nodes.js';

const program = new URL('../../../bin/understudy', import.meta.url).pathname;

function file(t: { teardown(work: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'lab.yaml');
  writeFileSync(path, twoHosts);
  return path;
}

function up(path: string, name: string): ChildProcess {
  const argv = [program, 'lab', 'up', path, '--lab', name];
  return spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Waits for the end of what the lab's first process was. */
async function ended(state: LabState): Promise<void> {
  const fd = openProcess(state.pid);
  if (fd === undefined) return;
  try {
    if (!(await waitForEnd(fd, 15_000))) throw new Error('the lab does not end');
  } finally {
    closeSync(fd);
  }
}

test('a lab that is taken down leaves nothing', async (t) => {
  const lab = await buildLab(t);
  const processes = processesOf(lab);
  // How many daemons have started by now is a matter of time; the first processes are there for sure.
  const first = [lab.pid, ...lab.plan.hosts.flatMap(({ name }) => lab.pidOf(name) ?? [])];
  t.equal(first.length, 1 + lab.plan.hosts.length, 'the lab and each host have a first process');
  const seen = new Set(processes.map(({ pid }) => pid));
  t.ok(
    first.every((pid) => seen.has(pid)),
    'and it is among those that must be gone',
  );
  t.equal(readState(lab.name)?.ready, true);
  await lab.down();
  t.strictSame(leftovers(lab.name, processes), []);
  await t.resolves(lab.down(), 'a second time is no error');
});

for (const [moment, isThere] of [
  ['it has its name', () => true],
  ['hosts have power', (lab: Lab) => lab.plan.hosts.every(({ name }) => lab.pidOf(name))],
] as const) {
  test(`SIGKILL of lab up once ${moment} leaves nothing`, async (t) => {
    const name = labName();
    const child = up(file(t), name);
    await until('it is noted', () => readState(name) !== undefined);
    const state = readState(name);
    if (state === undefined) throw new Error('it is gone already');
    const lab = Lab.attach(state);
    await until(moment, () => isThere(lab));
    const processes = processesOf(lab);
    child.kill('SIGKILL');
    await ended(state);
    t.strictSame(leftovers(name, processes), []);
  });
}

test('an interrupted lab up leaves nothing and says so', async (t) => {
  const name = labName();
  const child = up(file(t), name);
  const told = collect(child);
  await until('it is noted', () => readState(name) !== undefined);
  const state = readState(name);
  child.kill('SIGINT');
  const { code } = await told;
  t.not(code, 0);
  t.strictSame(leftovers(name, state === undefined ? [] : [state]), []);
});

test('two labs run side by side, with the same addresses', async (t) => {
  const [one, other] = await Promise.all([buildLab(t), buildLab(t)]);
  t.ok(await pings(one, 'h1', '10.66.0.2'));
  await other.kill('h2');
  t.ok(await pings(one, 'h1', '10.66.0.2'), 'a power cut in one is none in the other');
  t.notOk(await pings(other, 'h1', '10.66.0.2'));
  t.throws(() => findLab(), { code: 'US_LAB_AMBIGUOUS' });
  t.equal(findLab(one.name)?.state.pid, one.pid);
  t.throws(() => findLab('nobody'), { code: 'US_LAB_UNKNOWN' });
});

test('of two labs of one name one is refused, and the other is well', async (t) => {
  const name = labName();
  const results = await Promise.allSettled([
    buildLab(t, twoHosts, { name }),
    buildLab(t, twoHosts, { name }),
  ]);
  const labs = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const refused = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  t.equal(labs.length, 1);
  t.match(refused, [{ code: 'US_LAB_RUNNING' }]);
  t.equal(readState(name)?.pid, labs[0]?.pid);
  t.ok(labs[0] !== undefined && (await pings(labs[0], 'h1', '10.66.0.2')));
});

test('a note of a lab that is gone is in nobody’s way', async (t) => {
  const name = labName();
  const lab = await buildLab(t, twoHosts, { name });
  const state = readState(name);
  await lab.down();
  mkdirSync(labDirectory(name), { recursive: true });
  writeFileSync(join(labDirectory(name), 'lab.json'), JSON.stringify(state));
  t.equal(readState(name), undefined);
  t.notOk(existsSync(labDirectory(name)), 'it is removed when somebody looks');
  mkdirSync(labDirectory(name), { recursive: true });
  writeFileSync(
    join(labDirectory(name), 'lab.json'),
    JSON.stringify({ ...state, pid: process.pid }),
  );
  const again = await buildLab(t, twoHosts, { name });
  t.ok(await pings(again, 'h1', '10.66.0.2'), 'and the name can be used again');
});

test('a lab that cannot be built leaves nothing', async (t) => {
  const name = labName();
  const stop = new AbortController();
  stop.abort(new Error('called off'));
  const options = { name, ...parsed(twoHosts), say: () => undefined };
  await t.rejects(Lab.build({ ...options, signal: stop.signal }), /called off/);
  const signal = new AbortController().signal;
  await t.rejects(Lab.build({ ...options, name: 'a/b', signal }), { code: 'US_LAB_NAME' });
  t.strictSame(leftovers(name, []), []);
});

test('what a lab kept goes on after its builder, and comes down by name', async (t) => {
  const name = labName();
  const script = `
    import { Lab } from ${JSON.stringify(new URL('../../src/lab/lab.js', import.meta.url).href)};
    import { parsed, twoHosts } from ${JSON.stringify(new URL('./nodes.js', import.meta.url).href)};
    const idle = ['sh', '-c', 'exec sleep infinity', 'idle'];
    await Lab.build({ name: '${name}', ...parsed(twoHosts), keep: true, say: () => {},
      signal: new AbortController().signal, programs: { agent: idle, pulse: idle } });
    process.exit();`;
  const builder = spawn(process.execPath, ['--input-type=module', '-e', script]);
  const [code] = (await once(builder, 'exit')) as [number];
  t.equal(code, 0);
  const found = findLab(name);
  if (found === undefined) throw new Error('it is gone');
  const lab = Lab.attach(found.state);
  t.teardown(() => lab.down());
  t.ok(await pings(lab, 'h1', '10.66.0.2'));
  const processes = processesOf(lab);
  const down = spawn(process.execPath, [program, 'lab', 'down', '--lab', name, '--json']);
  const { stdout } = await collect(down);
  t.strictSame(JSON.parse(stdout), { lab: name, state: 'down' });
  t.strictSame(leftovers(name, processes), []);
});
