import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import tap, { test } from 'tap';
import type { Status } from '../../src/control/status.js';
import { askFrom, Crowd } from '../lab/crowd.js';
import { openLab, understudy, untilListening } from '../lab/harness.js';

tap.setTimeout(600_000);
const count = 200;
const firstPort = 20_000;
const address = '10.10.0.100';
const path = (name: string) => new URL(`../lab/${name}.js`, import.meta.url).pathname;

/** Members, dispatchers and votes each have hosts of their own, so that a dead host takes one of them. */
const file = (members: string) => `
cluster: conns
controllers: [d1, d2, k1]
hosts:
  - {name: k1, pool: none}
  - {name: d1, pool: dispatch}
  - {name: d2, pool: dispatch}
  - {name: h1}
  - {name: h2}
  - {name: h3}
  - {name: h4}
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
${[1, 2, 3]
  .map(
    (number) => `  - name: web${number}
    networks: [{network: blue, address: 10.10.0.1${number}/24}]
    workload: {command: ["${process.execPath}", "${path('echo-server')}", web${number}]}
`,
  )
  .join('')}
services:
  - name: web
    network: blue
    address: ${address}
    ports: [{protocol: tcp, port: 80}]
    members: ${members}
    hash: source-ip-port
    pool: dispatch
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}, {name: c2, network: blue, address: 10.10.0.201/24}]
`;

const dispatcherOf = ({ services }: Status) => services[0]?.dispatcher ?? '';

test('200 live connections in a flood of SYNs: drain, addition, weights, two changes in a row, agents restarted, the dispatcher’s host killed in a drain, moved, a member’s host killed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-connections-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const { stage, lab } = await openLab(t, 'conns', {}, file('[web1, web2]'));
  await untilListening(stage, 'c1', ['10.10.0.11', '10.10.0.12', '10.10.0.13']);
  const mac = (await stage.status()).services[0]?.mac ?? '';
  const crowd = new Crowd(t, stage, address, firstPort, count);
  await crowd.heard();
  t.same([...new Set(crowd.at.values())].sort(), ['web1', 'web2'], 'both members have some');

  const flood = stage.lab.spawn('c2', [
    process.execPath,
    path('syn-flood'),
    'eth0',
    mac,
    address,
    '80',
  ]);
  t.teardown(() => flood.kill('SIGKILL'));
  if (flood.stdout === null) throw new Error('the flood has no output');
  let flooded = 0;
  createInterface({ input: flood.stdout }).on('line', (line) => {
    flooded = Number(line);
  });

  const whole = async (name: string) => {
    await crowd.heard();
    t.same([crowd.moved, [...crowd.broken]], [[], []], `${name}: none moved, none broke`);
  };
  /** New flows go where `which` says: the dispatcher has it. */
  let next = 40_000;
  const taken = async () => {
    for (;;) {
      const ports = Array.from({ length: 20 }, (_, at) => next + at);
      next += ports.length;
      const answers = await askFrom(stage, address, ports);
      const wanted = await Promise.all(
        ports.map(async (port) => (await stage.which('web', `10.10.0.200:${port}`)).member),
      );
      if (ports.every((port, at) => answers.get(port) === wanted[at])) return;
    }
  };
  const change = async (members: string) => {
    const changed = join(folder, 'cluster.yaml');
    writeFileSync(changed, file(members));
    await understudy(lab, 'apply', changed);
  };
  const all = (one: number, two: number, three: number) =>
    `[{personality: web1, weight: ${one}}, {personality: web2, weight: ${two}}, {personality: web3, weight: ${three}}]`;
  for (const [name, ...changes] of [
    ['an addition', all(1, 1, 1)],
    ['a drain', all(0, 1, 1)],
    ['other weights', all(0, 5, 1)],
    ['two changes in a row', all(1, 5, 1), '[web1, web2]'],
  ] as const) {
    for (const members of changes) await change(members);
    await taken();
    await whole(name);
  }

  for (const host of ['d1', 'd2', 'h1', 'h2', 'h3', 'h4']) {
    await lab.machine(host).daemon('agent').restart();
  }
  await taken();
  await whole('agents restarted');

  // A member drains, and others begin meanwhile: what only the dispatcher knows of both must not end with it.
  await change(all(0, 1, 1));
  await taken();
  const late = new Crowd(t, stage, address, 30_000, 100);
  await late.heard();
  t.notOk([...late.at.values()].includes('web1'), 'who begins gets nobody who drains');
  const both = async (name: string) => {
    await whole(name);
    await late.heard();
    t.same(
      [late.moved, [...late.broken]],
      [[], []],
      `${name}: of those that began in the drain none`,
    );
  };
  await both('a member drains');
  const first = dispatcherOf(await stage.status());
  await stage.lab.kill(first);
  await stage.until(
    'another host dispatches',
    (status) =>
      status.services[0]?.phase === 'running' && ![first, ''].includes(dispatcherOf(status)),
    20_000,
  );
  await both('the dispatcher’s host killed while a member drains');
  await stage.lab.start(first);
  await stage.until(
    `${first} is back`,
    ({ hosts }) =>
      hosts.some(({ name, state, granting }) => name === first && state === 'up' && granting),
    60_000,
  );
  await both('and it is back');

  const second = dispatcherOf(await stage.status());
  await understudy(lab, 'drain', second);
  await stage.until(
    `${first} dispatches again`,
    (status) => status.services[0]?.phase === 'running' && dispatcherOf(status) === first,
    20_000,
  );
  await both('the dispatcher moved as planned');
  await understudy(lab, 'undrain', second);
  await change(all(1, 1, 1));
  await taken();
  await both('the drain taken back');

  const before = await stage.status();
  const victim = before.personalities.find(({ name }) => name === 'web1');
  const ports = [...crowd.at].flatMap(([port, name]) => (name === 'web1' ? [port] : []));
  const killedMs = Date.now();
  await stage.lab.kill(victim?.host ?? '');
  await untilListening(stage, 'c1', ['10.10.0.11']);
  const gapMs = Date.now() - killedMs;
  await crowd.until(() => crowd.broken.size >= ports.length);
  await crowd.heard();
  t.same([...crowd.broken.keys()].sort(), [...ports].sort(), 'its connections broke, no other');
  t.same(crowd.moved, []);
  const again = await askFrom(stage, address, ports);
  const answeredMs = Date.now() - killedMs;
  // The members are three now: some of these ports, which stayed at web1, begin elsewhere.
  const members = await Promise.all(
    ports.map(async (port) => (await stage.which('web', `10.10.0.200:${port}`)).member),
  );
  t.ok(members.includes('web1'));
  t.same(
    ports.map((port) => again.get(port)),
    members,
    'each of them, from the same port, is where `which` says: at the replacement, or at a new member',
  );
  t.comment(
    `web1 answered again after ${gapMs} ms, all of its clients had connected by ${answeredMs} ms`,
  );
  t.ok(gapMs < 3_000, `${gapMs} ms`);
  t.comment(`${flooded} SYNs in the flood`);
  t.ok(flooded > 100_000, 'it was one');
});
