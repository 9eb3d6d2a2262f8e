import { test } from 'tap';
import {
  type Circumstances,
  decideFailovers,
  initialFailoverState,
} from '../../src/control/failover.js';
import { clusterConfig, World, web, web1, web2 } from './world.js';

const leader: Circumstances = {
  me: 'h2',
  leader: true,
  nowMs: 1_010,
  unixMs: 0,
  bootId: 'boot',
  liveness: { lapsed: new Set() },
};

function placed(): World {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  return world;
}

test('one vote of three fails nothing over', (t) => {
  const world = placed();
  world.vote('h1', 1, 'h2');
  t.same(decideFailovers(initialFailoverState, world.view, leader).verdicts, []);
  t.end();
});

test('a majority of votes moves the personality to a spare with the next epoch', (t) => {
  const world = placed();
  const votes = [world.vote('h1', 1, 'h2'), world.vote('h1', 1, 'h3')];
  const [verdict] = decideFailovers(initialFailoverState, world.view, leader).verdicts;
  if (verdict?.kind !== 'fail-over') throw new Error('no failover decided');
  const { commit } = verdict;
  t.same(commit.from, { host: 'h1', incarnation: 1 });
  t.equal(commit.next.host, 'h3', 'h3 and h4 are spares; h3 comes first by name');
  t.equal(commit.next.epoch, 2);
  t.same(
    commit.votes.map(({ revision }) => revision),
    votes,
    'the transaction compares exactly the votes it rests on',
  );
  t.equal(commit.assignmentRevision, world.view.assignments.get('personality/web1')?.revision);
  t.equal(commit.record?.id, 'web1-2');
  t.equal(commit.record?.zeroMs, 790, 'zero is the newest acknowledgement');
  t.same(commit.record?.evidence, [
    { controller: 'h2', lastAckAgoMs: 210 },
    { controller: 'h3', lastAckAgoMs: 210 },
  ]);
  t.end();
});

test('two hosts that reach the store but no controller do not hand a role to and fro', (t) => {
  const world = placed();
  for (const name of ['h1', 'h2', 'h3', 'h4']) world.tellLease(name, 1, true);
  // The dispatcher prefers h3 and h4, which carry no member of its service: they take turns enrolling.
  const cutOff = new Map([
    ['h3', 1],
    ['h4', 1],
  ]);
  const reenrol = (host: string) => {
    const incarnation = cutOff.get(host) ?? 0;
    for (const controller of ['h1', 'h2']) world.vote(host, incarnation, controller);
    world.retire(host, incarnation);
    cutOff.set(host, incarnation + 1);
    world.enrol(host, incarnation + 1);
    world.tellLease(host, incarnation + 1, false);
  };
  world.assign(web, 'h4', { incarnation: 1 });
  for (const host of cutOff.keys()) reenrol(host);
  const went: (string | null)[] = [];
  for (let round = 0; round < 6; round++) {
    for (const verdict of decideFailovers(initialFailoverState, world.view, leader).verdicts) {
      if (verdict.kind !== 'fail-over') continue;
      went.push(verdict.commit.next.host);
      world.assign(web, verdict.commit.next.host, verdict.commit.next);
    }
    for (const host of cutOff.keys()) reenrol(host);
  }
  t.same(went, ['h1'], 'to a host that is well, once');
  t.end();
});

test('a host that comes back may have its role again if there is nobody else', (t) => {
  const world = placed();
  for (const controller of ['h2', 'h3']) world.vote('h1', 1, controller);
  for (const other of ['h2', 'h3', 'h4']) world.drain(other);
  const decided = () => decideFailovers(initialFailoverState, world.view, leader).verdicts;
  t.match(decided(), [{ kind: 'hold', reason: 'no-spare-in-pool' }], 'it is dead itself');
  world.enrol('h1', 2);
  t.match(decided(), [{ kind: 'fail-over', commit: { next: { host: 'h1', incarnation: 2 } } }]);
  world.remove('drained/h4');
  t.match(decided(), [{ kind: 'fail-over', commit: { next: { host: 'h4' } } }], 'another first');
  t.end();
});

test('votes against another incarnation of the host count for nothing', (t) => {
  const world = placed();
  world.enrol('h1', 2);
  world.assign(web1, 'h1', { incarnation: 2 });
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  t.same(decideFailovers(initialFailoverState, world.view, leader).verdicts, []);
  t.end();
});

test('a withdrawn vote does not stand', (t) => {
  const world = placed();
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3', { state: 'withdrawn' });
  t.same(decideFailovers(initialFailoverState, world.view, leader).verdicts, []);
  t.end();
});

test('a vote of a host that is no controller does not count', (t) => {
  const world = placed();
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h4');
  t.same(decideFailovers(initialFailoverState, world.view, leader).verdicts, []);
  t.end();
});

test('another controller waits its turn, then commits too', (t) => {
  const world = placed();
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  const third = { ...leader, me: 'h3', leader: false };
  const early = decideFailovers(initialFailoverState, world.view, third);
  t.match(early.verdicts, [{ kind: 'hold', reason: 'not-my-turn' }]);
  t.equal(early.wakeAtMs, 1_070, 'rank 3: three steps of 20 ms after it saw the majority');
  const late = decideFailovers(early.state, world.view, { ...third, nowMs: 1_070 });
  t.match(late.verdicts, [{ kind: 'fail-over' }]);
  t.end();
});

test('without a spare it holds and says so; a host that comes up later takes over', (t) => {
  const config = clusterConfig();
  const world = new World({ ...config, hosts: config.hosts.slice(0, 2), services: [] });
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  world.retire('h2', 1);
  const { verdicts } = decideFailovers(initialFailoverState, world.view, leader);
  t.match(verdicts, [{ kind: 'hold', reason: 'no-spare-in-pool' }]);
  world.enrol('h2', 2);
  t.match(decideFailovers(initialFailoverState, world.view, leader).verdicts, [
    { kind: 'fail-over', commit: { next: { host: 'h2', incarnation: 2 } } },
  ]);
  t.end();
});

test('a failed host loses all of its roles, higher priority first, each in its own commit', (t) => {
  const config = clusterConfig();
  const [first, second] = config.personalities;
  if (first === undefined || second === undefined) throw new Error('two are expected');
  const world = new World({ ...config, personalities: [first, { ...second, priority: 200 }] });
  for (const role of [web1, web2, web]) world.assign(role, 'h1');
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  const { verdicts } = decideFailovers(initialFailoverState, world.view, leader);
  t.same(
    verdicts.map(({ role }) => role.name),
    ['web2', 'web1', 'web'],
  );
  t.end();
});

test('a draining owner that dies is failed over like any other', (t) => {
  const world = placed();
  world.assign(web1, 'h1', { state: 'draining', to: 'h4', epoch: 5 });
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  t.match(decideFailovers(initialFailoverState, world.view, leader).verdicts, [
    { kind: 'fail-over', commit: { next: { epoch: 6, state: 'assigned' } } },
  ]);
  t.end();
});

test('a role that left the cluster file becomes unplaced when its host dies', (t) => {
  const world = placed();
  world.assign({ kind: 'personality', name: 'gone' }, 'h1', { epoch: 3 });
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  const { verdicts } = decideFailovers(initialFailoverState, world.view, leader);
  const gone = verdicts.find(({ role }) => role.name === 'gone');
  t.match(gone, {
    kind: 'fail-over',
    commit: { next: { host: null, epoch: 4, state: 'unplaced' } },
  });
  t.end();
});

test('what one host carried is spread over the spares, also when it is decided at once', (t) => {
  const config = clusterConfig();
  const world = new World({ ...config, services: [] });
  world.assign(web1, 'h1');
  world.assign(web2, 'h1');
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  const { verdicts } = decideFailovers(initialFailoverState, world.view, leader);
  t.match(verdicts, [
    { role: web1, commit: { next: { host: 'h2' } } },
    { role: web2, commit: { next: { host: 'h3' } } },
  ]);
  t.end();
});

test('with room for one, the higher priority is placed and the other is held', (t) => {
  const config = clusterConfig();
  const [first, second] = config.personalities;
  if (first === undefined || second === undefined) throw new Error('two are expected');
  const world = new World({
    ...config,
    hosts: config.hosts.slice(0, 3).map((host) => ({ ...host, capacity: 1 })),
    personalities: [first, { ...second, priority: 200 }],
    services: [],
  });
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  for (const host of ['h1', 'h2']) {
    world.vote(host, 1, 'h3');
    world.vote(host, 1, host === 'h1' ? 'h2' : 'h1');
  }
  const { verdicts } = decideFailovers(initialFailoverState, world.view, leader);
  t.match(verdicts, [
    { kind: 'fail-over', role: web2, commit: { next: { host: 'h3' } } },
    { kind: 'hold', role: web1, reason: 'no-room-in-pool' },
  ]);
  t.end();
});
