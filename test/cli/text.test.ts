import { test } from 'tap';
import { table } from '../../src/cli/output.js';
import { timelineText } from '../../src/cli/run/failovers.js';
import { statusText } from '../../src/cli/run/status.js';
import { statusOf } from '../../src/control/status.js';
import { timelinesOf } from '../../src/control/timeline.js';
import { clusterConfig, World, web, web1 } from '../control/world.js';

test('columns line up and rows have no blanks at the end', (t) => {
  t.equal(
    table([
      ['A', 'LONGER', 'C'],
      ['first', 'x', ''],
    ]),
    'A      LONGER  C\nfirst  x',
  );
  t.end();
});

test('status shows spares, roles and what is wrong', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web, 'h1');
  world.vote('h3', 1, 'h2');
  world.vote('h2', 1, 'h1', { state: 'withdrawn' });
  world.write('report/h1', {
    incarnation: 1,
    ...{ personalities: [], services: [] },
    health: [
      { service: 'web', personality: 'web1', epoch: 1, up: false, why: 'connect: ECONNREFUSED' },
    ],
  });
  const status = statusOf(world.view, clusterConfig(), undefined, () => new Map([['web1', 7]]));
  const text = statusText(status);
  t.match(text, /leader none/);
  t.match(text, /^h1 +up, starting +default +1 +web1, dispatches web$/m);
  t.match(text, /^h2 +up, starting/m, 'a vote that was withdrawn says nothing');
  t.match(text, /^h3 +up, voted by h2 +default/m);
  t.match(text, /^h4 +up +default +1 +spare$/m);
  t.match(text, /web2 is unplaced: waiting for the leader to place it/);
  t.match(text, /web1 down 7 slots/);
  t.match(text, /^web1 is down as a member of web: connect: ECONNREFUSED$/m);
  t.end();
});

test('status tells why a host is down, where it said so, and what a drained one keeps', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.drain('h1');
  for (const host of ['h2', 'h3', 'h4']) {
    for (const voter of ['h1', 'h2']) world.vote(host, 1, voter, { agentAway: host === 'h3' });
  }
  world.write('report/h1', {
    incarnation: 1,
    personalities: [{ name: 'web1', epoch: 1, phase: 'running', detail: '', volumes: [] }],
    ...{ services: [], health: [] },
  });
  const text = statusText(statusOf(world.view, clusterConfig(), 'h1', () => new Map()));
  t.match(text, /^h2 +expired +default/m);
  t.match(text, /^h3 +expired, its agent was away +default/m);
  t.match(text, /^web1 is running: stays on h1, which is drained: no-spare-in-pool$/m);
  t.end();
});

test('status tells how far a change of controllers is, and what it waits for', (t) => {
  const world = new World();
  const config = clusterConfig({ controllers: ['h1', 'h2', 'h4'] });
  const controllers = { set: 1, since: 0, from: ['h1', 'h2', 'h3'] };
  world.write('config', { generation: 2, config, controllers });
  world.write('controllers/h1/sets', { accepts: 1, refusesBelow: 0 });
  const status = statusOf(world.view, config, undefined, () => new Map());
  t.match(status.controllersChange, { phase: 'reading', waitsFor: ['h2', 'h3', 'h4'] });
  const text = statusText(status);
  t.match(text, /controllers change, h1, h2, h3 → h1, h2, h4.*\nreading: .*: h2, h3, h4$/m);
  t.end();
});

test('a time line draws each step on one scale', (t) => {
  const world = new World();
  world.write('failovers/web1-2', {
    id: 'web1-2',
    kind: 'personality',
    name: 'web1',
    from: 'h1',
    fromIncarnation: 1,
    to: 'h4',
    epoch: 2,
    cause: 'lease-expired',
    reason: 'two of three',
    evidence: [{ controller: 'h2', lastAckAgoMs: 203.4 }],
    committedBy: 'h2',
    atUnixMs: 0,
    zeroMs: 0,
    votedMs: 200,
    commitMs: 210,
    bootId: 'b',
  });
  world.write('steps/web1-2/owner', {
    host: 'h4',
    bootId: 'b',
    heardMs: 212,
    steps: [{ name: 'network', startMs: 212, endMs: 400, ok: false, detail: 'no such device' }],
    outcome: 'failed',
  });
  const [one] = timelinesOf(world.view);
  if (one === undefined) throw new Error('a record is expected');
  const text = timelineText(one);
  t.match(text, /web1 h1 → h4, epoch 2, lease-expired: failed/);
  t.match(text, /h2: 203 ms/);
  t.match(text, /network +212 ms +400 ms +h4 +█+ +failed: no such device/);
  t.end();
});

test('status and which show what the dispatcher counted, by whom it dispatches now', (t) => {
  const world = new World();
  world.assign(web, 'h1');
  const none = statusOf(world.view, clusterConfig(), undefined, () => new Map());
  t.match(none.services[0], { traffic: null, members: [{ traffic: null }] });
  t.notMatch(statusText(none), /PACKETS/);
  const traffic = {
    service: 'web',
    received: 15,
    forwarded: [
      {
        ...{ personality: 'web1', packets: 10, bytes: 840, newFlows: 2 },
        perSecond: { packets: 0.8, bytes: 67.2, newFlows: 0.1 },
      },
    ],
    passed: 4,
    dropped: { lease: 0, malformed: 1 },
  };
  const nothing = { personalities: [], services: [], health: [] };
  world.write('report/h1', { incarnation: 1, ...nothing, traffic: [traffic] });
  world.write('report/h2', {
    incarnation: 1,
    ...nothing,
    traffic: [{ ...traffic, passed: 99, received: 110 }],
  });
  const status = statusOf(world.view, clusterConfig(), undefined, () => new Map());
  t.match(status.services[0], {
    traffic: { received: 15, passed: 4, dropped: { malformed: 1 } },
    members: [{ personality: 'web1', traffic: { packets: 10, bytes: 840, newFlows: 2 } }],
  });
  const text = statusText(status);
  t.match(text, /^web +web1 +10 +840 +2 +0\.8 +0\.1$/m);
  t.match(text, /^web +the stack +4$/m);
  t.match(text, /^web +nobody: malformed +1$/m);
  t.notMatch(text, /nobody: lease/);
  world.assign(web, 'h3', { epoch: 2 });
  const moved = statusOf(world.view, clusterConfig(), undefined, () => new Map());
  t.equal(moved.services[0]?.traffic, null, 'the next dispatcher has not told yet');
  t.end();
});
