import { createHash } from 'node:crypto';
import { test } from 'tap';
import type { ClusterConfig } from '../../src/config/types.js';
import { decideApply } from '../../src/control/apply.js';
import { ballotFacts } from '../../src/control/ballot-facts.js';
import { decideBallot, noBallot, stepBallot } from '../../src/control/ballots.js';
import {
  controllersChange,
  decideChange,
  electorateToHold,
  notDriving,
  setToRefuseBelow,
} from '../../src/control/controllers-change.js';
import { lowestSet } from '../../src/control/electorate.js';
import { decideFailovers, initialFailoverState } from '../../src/control/failover.js';
import {
  allocationKey,
  configKey,
  controllerSetsKey,
  featuresKey,
  hostKey,
  longerKey,
  reportKey,
} from '../../src/control/keys.js';
import { choosePlacement } from '../../src/control/placement.js';
import { isShutOut } from '../../src/control/votes.js';
import { clusterConfig, World, web1 } from './world.js';

const digest = (text: string) => createHash('sha256').update(text).digest();
const old = ['h1', 'h2', 'h3'];
const next = ['h1', 'h2', 'h4'];
const everybody = ['h1', 'h2', 'h3', 'h4'];
const named = (controllers: readonly string[], changes: Partial<ClusterConfig> = {}) =>
  clusterConfig({ controllers, ...changes });

/** A cluster at work, whose agents know that controllers may change. */
class Cluster extends World {
  constructor(config = named(old)) {
    super(config);
    for (const host of everybody) this.write(featuresKey(host), features);
    this.assign(web1, 'h1');
  }

  decide(wanted: ClusterConfig) {
    return decideApply(this.view, wanted, digest, (bytes) => '00'.repeat(bytes));
  }

  apply(wanted: ClusterConfig) {
    const decision = this.decide(wanted);
    if (decision.kind !== 'apply') throw new Error(JSON.stringify(decision));
    this.write(configKey, decision.application.config);
    this.write(allocationKey, decision.application.allocation);
    return decision.application.config.controllers;
  }

  sets(controllers: readonly string[], accepts: number, refusesBelow = 0) {
    for (const name of controllers) {
      this.write(controllerSetsKey(name), { accepts, refusesBelow });
    }
  }

  move(hosts: readonly string[], set: number) {
    const nothing = { personalities: [], services: [], health: [] };
    for (const name of hosts) this.write(reportKey(name), { incarnation: 1, set, ...nothing });
  }

  get phase() {
    return controllersChange(this.view)?.phase;
  }
}

const features = { vlan: false, kernel: '6.1', controllerSets: true };

test('a change goes from step to step by what stands in the store', async (t) => {
  const cluster = new Cluster();
  t.equal(cluster.phase, undefined);
  t.same(cluster.apply(named(next)), { set: 1, since: 0, from: old });
  t.match(controllersChange(cluster.view), {
    phase: 'reading',
    waitsFor: everybody,
    reason: /read the new configuration: h1, h2, h3, h4/,
  });
  cluster.sets(['h1', 'h3'], 1);
  t.equal(cluster.phase, 'reading', 'a majority of the old ones only');
  cluster.sets(['h4'], 1);
  t.match(controllersChange(cluster.view), { phase: 'reading', waitsFor: ['h2'] }, 'h2 is up');
  cluster.sets(['h2'], 1);
  t.match(controllersChange(cluster.view), { phase: 'moving', waitsFor: everybody });
  t.equal(setToRefuseBelow(cluster.view, 'h1'), 0, 'not before the hosts have moved');
  cluster.move(everybody, 1);
  t.match(controllersChange(cluster.view), { phase: 'refusing', waitsFor: old });
  t.equal(setToRefuseBelow(cluster.view, 'h1'), 1);
  t.equal(setToRefuseBelow(cluster.view, 'h4'), 0, 'the new ones have nothing to refuse');
  cluster.sets(['h1'], 1, 1);
  t.equal(cluster.phase, 'refusing');
  cluster.sets(['h3'], 1, 1);
  t.equal(cluster.phase, 'waiting');
  const begun = decideChange(notDriving, cluster.view, 5_000);
  t.match(begun, { final: undefined, wakeAtMs: 5_203 }, 'one lease with margin from now on');
  t.match(decideChange(begun.state, cluster.view, 5_202), { final: undefined });
  const { final } = decideChange(begun.state, cluster.view, 5_203);
  t.match(final, {
    next: { controllers: { set: 2, since: 1, from: null }, config: { controllers: next } },
  });
  t.match(final?.reason, /h1, h2, h4 alone from now on; 2 of h1, h2, h3 refuse/);
  if (final === undefined) return;
  cluster.write(configKey, final.next);
  t.equal(cluster.phase, 'reading');
  cluster.sets(['h1', 'h2', 'h4'], 2, 1);
  t.match(controllersChange(cluster.view), { phase: 'settling', waitsFor: everybody });
  cluster.move(everybody, 2);
  t.equal(cluster.phase, undefined);
  t.same(cluster.decide(named(next)), { kind: 'unchanged' });
});

test('a change that is over stays so when a host that was voted out over it is back', async (t) => {
  const cluster = new Cluster();
  cluster.apply(named(next));
  const final = { set: 2, since: 1, from: null };
  for (const voter of ['h1', 'h2', 'h4']) cluster.vote('h3', 1, voter);
  cluster.write(configKey, { ...cluster.view.config?.value, controllers: final });
  cluster.sets(next, 2, 1);
  cluster.move(next, 2);
  t.equal(cluster.phase, undefined, 'nobody waits for a host that is voted out');
  const back = { incarnation: 2, bootToken: 'h3-2', enforced: true };
  cluster.write(hostKey('h3'), { ...back, set: 2 });
  t.equal(cluster.phase, undefined, 'its new incarnation counts by none but the new ones');
  t.match(cluster.decide(named(['h1', 'h2', 'h3'])), { kind: 'apply' });
  cluster.write(hostKey('h3'), back);
  t.match(
    controllersChange(cluster.view),
    { phase: 'settling', waitsFor: ['h3'] },
    'one that does not say so, or enrolled before the end, may count by the old ones',
  );
});

test('a host that enrols names the lowest set that it may count by, and never goes below', async (t) => {
  const cluster = new Cluster();
  const record = () => {
    const value = cluster.view.config?.value;
    if (value === undefined) throw new Error('no configuration');
    return value;
  };
  t.equal(lowestSet(record()), 0);
  cluster.apply(named(next));
  t.equal(lowestSet(record()), 0, 'it may not have read of the change');
  cluster.write(configKey, { ...record(), controllers: { set: 2, since: 1, from: null } });
  t.equal(lowestSet(record()), 2);
  t.same(electorateToHold(cluster.view, 'h1', 2, undefined, 2), { set: 2, sets: [next] });
  const behind = new Cluster();
  behind.apply(named(next));
  t.same(electorateToHold(behind.view, 'h1', 2, undefined, 2), undefined, 'its watch is behind');
});

test('a driver that comes new waits anew', async (t) => {
  const cluster = new Cluster();
  cluster.apply(named(next));
  cluster.move(everybody, 1);
  cluster.sets(everybody, 1, 1);
  t.match(decideChange(notDriving, cluster.view, 9_000), { final: undefined, wakeAtMs: 9_203 });
  const earlier = { refused: { set: 0, sinceMs: 0 } };
  t.match(decideChange(earlier, cluster.view, 9_000), { final: undefined }, 'of another change');
});

test('a longer lease that may have been granted before is waited for', async (t) => {
  const cluster = new Cluster();
  cluster.apply(named(next));
  cluster.move(everybody, 1);
  cluster.sets(everybody, 1, 1);
  cluster.write(longerKey('h4'), { incarnation: 1, nonce: 'n', leaseMs: 10_000 });
  t.match(controllersChange(cluster.view), { phase: 'waiting', waitsFor: ['h4'] });
  const begun = { refused: { set: 1, sinceMs: 0 } };
  t.match(decideChange(begun, cluster.view, 60_000), { final: undefined });
  cluster.remove(longerKey('h4'));
  const { final, wakeAtMs } = decideChange(notDriving, cluster.view, 60_000);
  t.same([final, wakeAtMs], [undefined, 60_203], 'and then an ordinary one');
});

test('a host counts under both sets once both majorities have read of it', async (t) => {
  const cluster = new Cluster();
  const hold = (current: number | undefined) => electorateToHold(cluster.view, 'h1', 1, current);
  t.same(hold(undefined), { set: 0, sets: [old] });
  cluster.apply(named(next));
  t.same(hold(0), undefined, 'it goes on as it is');
  t.same(hold(undefined), { set: 0, sets: [old] }, 'one that enrols begins with the old set');
  cluster.sets(['h1', 'h2', 'h3'], 1);
  t.same(hold(0), undefined, 'h4 is up and has not read of it');
  cluster.sets(['h4'], 1);
  cluster.vote('h1', 1, 'h4');
  cluster.vote('h1', 1, 'h2');
  t.same(hold(0), undefined, 'two of the new ones would refuse it');
  cluster.vote('h1', 1, 'h2', { state: 'withdrawn' });
  t.same(hold(0), { set: 1, sets: [old, next] });
  t.same(hold(undefined), { set: 1, sets: [old, next] });
  t.same(hold(2), undefined, 'never back to what a watch that is behind shows');
});

test('a dead host is not waited for, nor a dead controller', async (t) => {
  const cluster = new Cluster();
  cluster.vote('h3', 1, 'h1');
  cluster.vote('h3', 1, 'h2');
  cluster.apply(named(next));
  cluster.sets(['h1', 'h2', 'h4'], 1);
  t.match(controllersChange(cluster.view), { phase: 'moving', waitsFor: ['h1', 'h2', 'h4'] });
  cluster.move(['h1', 'h2', 'h4'], 1);
  cluster.sets(['h1', 'h2'], 1, 1);
  t.equal(cluster.phase, 'waiting');
});

test('the new ones do not count alone while too few of them are up', async (t) => {
  const cluster = new Cluster(named(['h1']));
  cluster.apply(named(old));
  cluster.sets(old, 1);
  cluster.move(everybody, 1);
  cluster.sets(['h1'], 1, 1);
  t.equal(cluster.phase, 'waiting');
  cluster.vote('h2', 1, 'h1');
  t.equal(cluster.phase, 'waiting', 'two of three are left');
  cluster.vote('h3', 1, 'h1');
  t.match(controllersChange(cluster.view), { phase: 'moving', waitsFor: ['h2', 'h3'] });
  t.same(decideChange(notDriving, cluster.view, 0).wakeAtMs, undefined);
  t.same(cluster.apply(named(['h1'])), { set: 2, since: 0, from: null });
});

test('while they change, votes are a majority only if they are one of both sets', async (t) => {
  const cluster = new Cluster();
  cluster.apply(named(next));
  const verdicts = () => {
    const now = { me: 'h2', leader: true, nowMs: 1_000, unixMs: 0, bootId: 'boot' };
    const liveness = { lapsed: new Set<string>() };
    return decideFailovers(initialFailoverState, cluster.view, { ...now, liveness }).verdicts;
  };
  cluster.vote('h1', 1, 'h3');
  cluster.vote('h1', 1, 'h2');
  t.same([isShutOut(cluster.view, 'h1', 1), verdicts()], [false, []], 'of the old ones');
  cluster.vote('h1', 1, 'h3', { state: 'withdrawn' });
  cluster.vote('h1', 1, 'h4');
  t.same([isShutOut(cluster.view, 'h1', 1), verdicts()], [false, []], 'of the new ones');
  cluster.vote('h1', 1, 'h3');
  t.ok(isShutOut(cluster.view, 'h1', 1));
  t.match(verdicts(), [{ kind: 'fail-over', reason: /3 of 4 controllers voted h1.1 expired/ }]);
});

test('a newcomer votes only after the old ones: it has not heard the host yet', async (t) => {
  const cluster = new Cluster();
  cluster.apply(named(next));
  const lapse = { lastAckAgoMs: null, atMs: 1_000 };
  const ballot = stepBallot(noBallot, { kind: 'lapsed', lapse }, 1_000);
  const decide = (me: string) => {
    const facts = ballotFacts(cluster.view, me, 'h1', 1, new Set());
    return decideBallot(ballot, { ...facts, spare: false, last: false }, 1_000, 200);
  };
  t.match(decide('h3'), { kind: 'vote' });
  t.match(decide('h4'), { kind: 'rest', reason: 'follows-the-old' });
  cluster.vote('h1', 1, 'h3');
  t.match(decide('h4'), { kind: 'rest' });
  cluster.vote('h1', 1, 'h2');
  t.match(decide('h4'), { kind: 'vote' });
});

test('a newcomer takes back what it voted when it was a controller before', async (t) => {
  const cluster = new Cluster();
  cluster.vote('h1', 1, 'h4');
  cluster.apply(named(next));
  const ballot = stepBallot(noBallot, { kind: 'stopped' }, 1_000);
  const decide = () =>
    decideBallot(ballot, ballotFacts(cluster.view, 'h4', 'h1', 1, new Set()), 1_000, 200);
  t.match(decide(), { kind: 'withdraw', reason: /old controllers have no vote/ });
  cluster.vote('h1', 1, 'h2');
  cluster.vote('h1', 1, 'h3');
  t.match(decide(), { kind: 'rest', reason: 'silent' });
});

test('one change at a time; the old file goes back', async (t) => {
  const cluster = new Cluster();
  cluster.apply(named(next));
  t.match(cluster.decide(named(['h2', 'h3', 'h4'])), {
    kind: 'refused',
    code: 'US_CONTROLLERS_CHANGING',
    cause: /from h1, h2, h3 to h1, h2, h4, and it names h2, h3, h4/,
  });
  t.same(cluster.decide(named(next)), { kind: 'unchanged' });
  t.match(
    cluster.apply(named(next, { services: [] })),
    { set: 1, since: 0, from: old },
    'it goes on',
  );
  t.same(cluster.apply(named(old)), { set: 2, since: 0, from: null });
  cluster.sets(everybody, 2);
  t.match(cluster.decide(named(next)), { code: 'US_CONTROLLERS_CHANGING', cause: /not over/ });
  cluster.move(everybody, 2);
  t.same(cluster.apply(named(next)), { set: 3, since: 0, from: old });
});

test('what is not known to go well is refused', async (t) => {
  const refused = (cluster: Cluster, wanted: ClusterConfig) => {
    const decision = cluster.decide(wanted);
    return decision.kind === 'refused' ? `${decision.code} ${decision.cause}` : decision.kind;
  };
  const { timing, hosts } = clusterConfig();
  const slower = { ...timing, leaseMs: 500 };
  t.match(refused(new Cluster(), named(next, { timing: slower })), /changes the timing too/);
  const behind = new Cluster();
  behind.write(featuresKey('h2'), { vlan: false, kernel: '6.1' });
  t.match(refused(behind, named(next)), /US_CONTROLLERS_CHANGE the version that runs on h2/);
  const dead = new Cluster();
  for (const voter of ['h1', 'h2']) dead.vote('h4', 1, voter);
  t.match(refused(dead, named(next)), /h4 is not up/);
  const half = new Cluster();
  for (const voter of ['h1', 'h2']) half.vote('h3', 1, voter);
  t.match(refused(half, named(['h3'], { fencing: { enforce: true } })), /h3 is not up/);
  const gone = hosts.filter(({ name }) => name !== 'h3');
  t.match(refused(new Cluster(), named(next, { hosts: gone })), /no longer names h3, which is up/);
  t.equal(refused(half, named(next, { hosts: gone })), 'apply', 'a dead one may go');
});

test('to one controller only if it is said that all leases depend on it', async (t) => {
  const cluster = new Cluster();
  const unsaid = named(['h1'], { fencing: { enforce: false } });
  t.match(cluster.decide(unsaid), {
    kind: 'refused',
    code: 'US_CONTROLLERS_CHANGE',
    remedy: /enforce: true/,
  });
  t.match(cluster.apply(named(['h1'], { fencing: { enforce: true } })), { from: old });
});

test('from one controller to three, enforced or not', async (t) => {
  for (const enforce of [true, false]) {
    const cluster = new Cluster(named(['h1'], { fencing: { enforce } }));
    t.same(cluster.apply(named(old)), { set: 1, since: 0, from: ['h1'] });
    cluster.sets(['h1'], 1);
    t.equal(cluster.phase, 'reading', 'a majority of the new ones as well');
    cluster.sets(['h2', 'h3'], 1);
    t.equal(cluster.phase, 'moving');
  }
});

test('with nothing placed and nothing to place the controllers are replaced at once', async (t) => {
  const cluster = new Cluster();
  cluster.assign(web1, null, { epoch: 2 });
  const nothing = { personalities: [], services: [] };
  t.same(cluster.apply(named(['h4'], nothing)), { set: 1, since: 1, from: null });
  const place = () => choosePlacement(cluster.view, named(['h4']), web1, { lapsed: new Set() });
  t.match(place(), { kind: 'hold' }, 'no host is known to ask the new one for its lease');
  cluster.move(['h2'], 1);
  t.match(place(), { kind: 'place', host: 'h2' });
});

test('the order of their names is no change', async (t) => {
  const cluster = new Cluster();
  t.same(cluster.apply(named(['h3', 'h2', 'h1'])), undefined);
});
