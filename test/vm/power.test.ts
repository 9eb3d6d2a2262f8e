import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tap, { test } from 'tap';
import { Lab } from '../../src/lab/lab.js';
import { labStatus } from '../../src/lab/lab-status.js';
import { collect } from '../../src/lab/shell.js';
import { labDirectory, readState } from '../../src/lab/state.js';
import { askMachine } from '../../src/lab/vm/machine.js';
import { buildLab, labName, leftovers, processesOf, until } from '../lab/nodes.js';
import { trunk } from './trunk.js';

/** The machines' power alone: none of these waits until one has booted. */
tap.setTimeout(300_000);
const imageMs = 200_000;
const twoMachines = trunk(['h1', 'h2'], ['h1']).replace('CLUSTER', 'test');
const program = new URL('../../../bin/understudy', import.meta.url).pathname;

test('a machine is paused, loses power, ends by itself and gets power again', async (t) => {
  const lab = await buildLab(t, twoMachines);
  const power = async (host: string) =>
    (await labStatus(lab)).nodes.find(({ name }) => name === host)?.power;
  t.equal(await power('h1'), 'on');
  t.equal(await lab.pause('h1'), 1);
  t.equal(await power('h1'), 'paused');
  t.equal(await power('h2'), 'on', 'the other one goes on');
  t.equal(await lab.resume('h1'), 1);
  t.equal(await power('h1'), 'on');
  await lab.pause('h1');
  await lab.kill('h1');
  t.equal(await power('h1'), 'off', 'power is cut from a paused one, too');
  const folder = `/proc/${lab.pid}/root${labDirectory(lab.name)}/hosts/h2`;
  await askMachine(folder, 'quit');
  await until('it has no power', () => lab.pidOf('h2') === undefined);
  t.equal(await power('h2'), 'off', 'as after its own poweroff');
  await lab.start('h2');
  t.equal(await power('h2'), 'on');
  t.match((await labStatus(lab)).nodes.find(({ name }) => name === 'h2')?.links, [
    { state: 'up' },
    { state: 'up' },
  ]);
  const processes = processesOf(lab);
  await lab.down();
  t.strictSame(leftovers(lab.name, processes), []);
});

test('an interrupted lab up leaves no machine', async (t) => {
  const name = labName();
  const folder = mkdtempSync(join(tmpdir(), 'understudy-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'lab.yaml');
  writeFileSync(file, twoMachines);
  const child = spawn(process.execPath, [program, 'lab', 'up', file, '--lab', name]);
  const told = collect(child);
  await until('it is noted', () => readState(name) !== undefined, imageMs);
  const state = readState(name);
  if (state === undefined) throw new Error('it is gone already');
  const lab = Lab.attach(state);
  const hosts = ['h1', 'h2'];
  await until('machines run', () => hosts.every((host) => lab.pidOf(host) !== undefined));
  const processes = processesOf(lab);
  child.kill('SIGINT');
  t.not((await told).code, 0);
  t.strictSame(leftovers(name, processes), []);
});
