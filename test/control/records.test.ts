import { createHash } from 'node:crypto';
import { test } from 'tap';
import { allocate } from '../../src/control/allocation.js';
import { eventKey, parseKey } from '../../src/control/keys.js';
import type { FailoverRecord, StepsRecord } from '../../src/control/records.js';
import { statusOf } from '../../src/control/status.js';
import { timelineOf } from '../../src/control/timeline.js';
import { clusterConfig, World, web, web1, web2 } from './world.js';

const digest = (text: string) => createHash('sha256').update(text).digest();
const zeroes = (bytes: number) => '00'.repeat(bytes);

test('allocated MACs are local, unicast, distinct and stay', (t) => {
  const open = clusterConfig({
    personalities: clusterConfig().personalities.map((personality) => ({
      ...personality,
      networks: personality.networks.map((nic) => ({ ...nic, mac: '' })),
    })),
  });
  const first = allocate(open, undefined, digest, zeroes);
  const macs = first.config.personalities.flatMap(({ networks }) => networks.map(({ mac }) => mac));
  t.equal(new Set(macs).size, 2);
  for (const mac of macs) t.equal(Number.parseInt(mac.slice(0, 2), 16) & 0b11, 0b10);
  const again = allocate({ ...open, personalities: [] }, first.allocation, digest, zeroes);
  t.same(again.allocation.macs, first.allocation.macs, 'kept for whoever left the file');
  t.same(allocate(open, again.allocation, digest, zeroes).config, first.config);
  t.end();
});

test('a MAC that the file gives is never allocated to another', (t) => {
  const open = clusterConfig();
  const taken = allocate(open, undefined, digest, zeroes);
  t.equal(taken.config.personalities[0]?.networks[0]?.mac, '02:00:00:00:00:11');
  t.same(taken.allocation.macs, {}, 'nothing was left open');
  t.same(Object.keys(taken.allocation.seeds), ['web']);
  t.end();
});

test('keys are taken apart as they were put together', (t) => {
  t.same(parseKey('votes/h1/3/h2'), { kind: 'vote', host: 'h1', incarnation: 3, controller: 'h2' });
  t.same(parseKey('assign/service/web'), { kind: 'assign', role: 'service', name: 'web' });
  t.equal(parseKey('assign/other/web'), undefined);
  t.equal(parseKey('nonsense'), undefined);
  t.equal(parseKey('mask/%'), undefined, 'somebody else’s key is no error');
  t.equal(parseKey('votes/h1/many/h2'), undefined);
  t.equal(parseKey('retired/h1/'), undefined);
  t.ok(eventKey(999, 'h1', 0) < eventKey(1_000, 'h1', 0), 'events sort by time');
  t.end();
});

test('a service may be called constructor, and has a seed all the same', (t) => {
  const services = clusterConfig().services.map((service) => ({ ...service, name: 'constructor' }));
  const { allocation } = allocate(clusterConfig({ services }), undefined, digest, zeroes);
  t.same(JSON.parse(JSON.stringify(allocation)).seeds, { constructor: '00'.repeat(16) });
  t.end();
});

test('status says who is where and who is shut out', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h3');
  world.vote('h4', 1, 'h1');
  world.vote('h4', 1, 'h2');
  world.retire('h3', 1);
  world.drain('h2');
  world.write('report/h1', {
    incarnation: 1,
    personalities: [{ name: 'web1', epoch: 1, phase: 'running', detail: '', volumes: [] }],
    services: [],
    health: [{ service: 'web', personality: 'web1', epoch: 1, up: false, why: 'HTTP status 503' }],
  });
  const slots = new Map([['web2', 65537]]);
  const status = statusOf(world.view, clusterConfig(), 'h1', () => slots);
  t.same(
    status.hosts.map(({ name, state }) => `${name} ${state}`),
    ['h1 up', 'h2 drained', 'h3 fenced', 'h4 expired'],
  );
  t.match(status.personalities, [
    { name: 'web1', host: 'h1', phase: 'running' },
    { name: 'web2', host: 'h2', phase: 'starting' },
  ]);
  t.match(status.services[0]?.members, [
    { personality: 'web1', health: 'down', reason: 'HTTP status 503', slots: 0 },
    { personality: 'web2', health: 'up', reason: '', slots: 65537 },
  ]);
  t.end();
});

test('a report of an earlier incarnation says nothing', (t) => {
  const world = new World();
  world.enrol('h1', 2);
  world.assign(web1, 'h1', { incarnation: 2 });
  world.write('report/h1', {
    incarnation: 1,
    personalities: [{ name: 'web1', epoch: 1, phase: 'running', detail: '', volumes: [] }],
    services: [],
    health: [],
  });
  const status = statusOf(world.view, clusterConfig(), undefined, () => new Map());
  t.equal(status.personalities[0]?.phase, 'starting');
  t.end();
});

test('a time line counts from the last acknowledged heartbeat, also over two clocks', (t) => {
  const record: FailoverRecord = {
    id: 'web1-2',
    kind: 'personality',
    name: 'web1',
    from: 'h1',
    fromIncarnation: 1,
    to: 'h4',
    epoch: 2,
    cause: 'lease-expired',
    reason: '',
    evidence: [],
    committedBy: 'h2',
    atUnixMs: 0,
    zeroMs: 1_000,
    votedMs: 1_205,
    commitMs: 1_210,
    bootId: 'one',
  };
  const owner: StepsRecord = {
    host: 'h4',
    bootId: 'two',
    heardMs: 50_000,
    steps: [{ name: 'network', startMs: 50_001, endMs: 50_011, ok: true }],
    outcome: 'ok',
  };
  const line = timelineOf(record, new Map([['owner', { value: owner }]]));
  t.match(line.steps, [
    { name: 'detect', startMs: 0, endMs: 205 },
    { name: 'decide', startMs: 205, endMs: 210 },
    { name: 'network', startMs: 211, endMs: 221, host: 'h4' },
  ]);
  t.equal(line.clockOffset, 'counted-from-delivery');
  t.equal(line.outcome, 'ok');
  const same = new Map([['owner', { value: { ...owner, bootId: 'one', steps: [] } }]]);
  t.equal(timelineOf(record, same).clockOffset, 'one-clock');
  t.equal(timelineOf(record, undefined).outcome, 'running');
  t.end();
});
