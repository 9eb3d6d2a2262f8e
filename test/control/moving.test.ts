import { test } from 'tap';
import { drainedKey, featuresKey, hostKey, maskKey, reportKey } from '../../src/control/keys.js';
import {
  awaited,
  decideCallingOff,
  moveBoundMs,
  moveRestMs,
  noMoves,
} from '../../src/control/moving.js';
import type { Phase } from '../../src/control/records.js';
import { draining, stays } from '../../src/control/rewrites.js';
import { statusOf } from '../../src/control/status.js';
import { decideStewardship } from '../../src/control/stewardship.js';
import { roleId } from '../../src/control/view.js';
import { clusterConfig, World, web, web1, web2 } from './world.js';

const target = 'iqn.2026-01.example:web1';

function config() {
  const base = clusterConfig();
  const [first, ...others] = base.personalities;
  if (first === undefined) throw new Error('one is expected');
  const storage = [{ volume: 'data', lun: 0, mount: '/data' }];
  const volume = {
    name: 'data',
    portals: ['10.66.0.9:3260'],
    target,
    lun: 1,
    filesystem: 'ext4',
    format: 'never',
  } as const;
  return { ...base, volumes: [volume], personalities: [{ ...first, storage }, ...others] };
}

/** web1 is on h1 and asked to move to h4, whose agent tells when it is ready. */
function moving(role = web1) {
  const world = new World(config());
  world.assign(role, 'h1', { epoch: 4 });
  world.write(featuresKey('h4'), { vlan: true, kernel: '6.1', tellsReady: true });
  const ask = () => {
    const [rewrite] = draining(world.view, role, 'h4', 'move', 'asked for');
    if (rewrite === undefined) throw new Error('one is expected');
    world.assign(role, 'h1', rewrite.next);
    return rewrite.next.move ?? Number.NaN;
  };
  const report = (host: string, rest: object) =>
    world.write(reportKey(host), {
      incarnation: 1,
      personalities: [],
      services: [],
      health: [],
      ...rest,
    });
  const ready = (move: number) => report('h4', { ready: [{ role: roleId(role), move }] });
  const says = (phase: Phase) =>
    report('h1', {
      personalities: [{ name: role.name, epoch: 4, phase, detail: '', volumes: [] }],
    });
  const mask = (rest: object) =>
    world.write(maskKey(target), { personality: 'web1', host: 'h1', epoch: 4, ...rest });
  return { world, ask, ready, says, mask };
}

test('an owner keeps a role until the next host says that it is ready for this very move', (t) => {
  const { world, ask, ready } = moving();
  const first = ask();
  t.match(awaited(world.view, web1), { what: 'ready', reason: /h4 does not say/ });
  ready(first);
  t.equal(awaited(world.view, web1), undefined);
  world.assign(web1, 'h1', { epoch: 4 });
  const second = ask();
  t.not(second, first);
  t.match(awaited(world.view, web1), { what: 'ready' }, 'what it said of an earlier move is old');
  ready(second);
  world.enrol('h4', 2);
  t.match(
    awaited(world.view, web1),
    { what: 'ready' },
    'and so is what it said in an earlier life',
  );
  world.retire('h4', 2);
  t.match(awaited(world.view, web1), { what: 'up' });
  t.end();
});

test('an owner keeps a role until its targets have answered to this very move', (t) => {
  const { world, ask, ready, mask } = moving();
  mask({ move: null });
  const move = ask();
  ready(move);
  t.match(awaited(world.view, web1), { what: 'target', reason: /does not answer/ });
  mask({ move, error: 'no tgtd' });
  t.match(awaited(world.view, web1), { what: 'target', reason: /no tgtd/ });
  mask({ move });
  t.equal(awaited(world.view, web1), undefined);
  mask({});
  t.equal(awaited(world.view, web1), undefined, 'an older daemon says nothing of moves');
  t.end();
});

test('nobody is waited for where nobody would answer', (t) => {
  const { world, ask } = moving();
  ask();
  world.write(featuresKey('h4'), { vlan: true, kernel: '6.1' });
  t.equal(awaited(world.view, web1), undefined, 'an older agent');
  world.assign(web1, 'h1', { state: 'draining', to: 'h4' });
  world.write(featuresKey('h4'), { vlan: true, kernel: '6.1', tellsReady: true });
  t.equal(awaited(world.view, web1), undefined, 'an older leader');
  const [gone] = draining(world.view, web1, null, 'move', 'no longer in the cluster file');
  world.assign(web1, 'h1', gone?.next ?? {});
  t.equal(awaited(world.view, web1), undefined, 'a role that goes to nobody');
  t.equal(gone?.next.move, undefined);
  t.end();
});

test('a move that cannot be completed is called off, and the role stays as it is', (t) => {
  const { world, ask } = moving();
  ask();
  const seen = decideCallingOff(noMoves, world.view, 1_000);
  t.same([seen.calledOff, seen.wakeAtMs], [[], 1_000 + moveBoundMs]);
  const late = decideCallingOff(seen.state, world.view, 1_000 + moveBoundMs);
  t.match(late.calledOff, [{ role: web1, reason: 'not moved to h4: h4 does not say' }]);
  const [rewrite] = stays(world.view, late.calledOff[0] ?? { role: web1, reason: '' });
  t.match(rewrite?.next, { host: 'h1', incarnation: 1, epoch: 4, state: 'assigned', to: null });
  t.equal(rewrite?.next.move, undefined);
  t.equal(rewrite?.assignmentRevision, world.view.assignments.get(roleId(web1))?.revision);
  t.end();
});

test('a move to a host that is lost meanwhile is called off at once', (t) => {
  const { world, ask } = moving();
  ask();
  world.retire('h4', 1);
  const { calledOff, state } = decideCallingOff(noMoves, world.view, 0);
  t.match(calledOff, [{ reason: 'not moved to h4: h4 is not up' }]);
  t.equal(state.restingHosts.size, 0, 'it may be back soon');
  t.end();
});

test('a move to a host that is drained meanwhile is called off: it would be moved on at once', (t) => {
  const { world, ask, ready } = moving();
  ready(ask());
  world.drain('h4');
  t.match(awaited(world.view, web1), { what: 'up' });
  const { calledOff } = decideCallingOff(noMoves, world.view, 0);
  t.match(calledOff, [{ reason: 'not moved to h4: h4 is drained' }]);
  t.end();
});

test('status says that a role runs until it may be let go of, and who is waited for', (t) => {
  const { world, ask, says, ready } = moving();
  says('running');
  const move = ask();
  const told = () => {
    const config = world.view.config?.value.config;
    if (config === undefined) throw new Error('one is expected');
    return statusOf(world.view, config, 'h1', () => new Map()).personalities[0];
  };
  t.match(told(), { phase: 'running', reason: 'to move to h4: h4 does not say that it is ready' });
  ready(move);
  t.match(told(), { phase: 'stopping', reason: 'asked for' });
  t.end();
});

test('a drain that is taken back moves nothing that has not begun', (t) => {
  const { world, says } = moving();
  says('running');
  const ask = (cause: 'drain' | 'move') => {
    const [rewrite] = draining(world.view, web1, 'h4', cause, 'h1 is drained');
    world.assign(web1, 'h1', { ...rewrite?.next, epoch: 4 });
  };
  const calledOff = () => decideCallingOff(noMoves, world.view, 0).calledOff;
  world.drain('h1');
  ask('drain');
  t.same(calledOff(), []);
  world.remove(drainedKey('h1'));
  t.same(calledOff(), [{ role: web1, reason: 'not moved to h4: h1 is drained no longer' }]);
  says('stopping');
  t.same(calledOff(), [], 'what is down already goes on');
  says('running');
  world.assign(web1, 'h1', { epoch: 4 });
  ask('move');
  t.same(calledOff(), [], 'what somebody asked for is no drain’s');
  t.end();
});

test('a move that its owner has begun is left to it, whatever happens to others', (t) => {
  const { world, ask, says } = moving();
  ask();
  says('running');
  const { state } = decideCallingOff(noMoves, world.view, 0);
  says('stopping');
  world.retire('h4', 1);
  t.same(decideCallingOff(state, world.view, 2 * moveBoundMs).calledOff, []);
  t.end();
});

test('each move has its own time, each leader too', (t) => {
  const { world, ask } = moving();
  ask();
  const { state } = decideCallingOff(noMoves, world.view, 0);
  world.assign(web1, 'h1', { epoch: 4 });
  ask();
  t.same(decideCallingOff(state, world.view, moveBoundMs).calledOff, []);
  t.same(decideCallingOff(noMoves, world.view, 2 * moveBoundMs).calledOff, []);
  t.end();
});

test('an owner that does not hear that it may let go loses nothing', (t) => {
  const { world, ask, ready, mask } = moving();
  const move = ask();
  ready(move);
  mask({ move });
  const { state } = decideCallingOff(noMoves, world.view, 0);
  const { calledOff } = decideCallingOff(state, world.view, moveBoundMs);
  t.match(calledOff, [{ reason: 'not moved to h4: h1 does not let go' }]);
  t.end();
});

test('a drain goes another way after a move that failed, and later tries again', (t) => {
  const now = (nowMs: number) => ({
    nowMs,
    leaderSinceMs: 0,
    liveness: { lapsed: new Set<string>() },
  });
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h2');
  world.drain('h1');
  world.write(featuresKey('h3'), { vlan: true, kernel: '6.1', tellsReady: true });
  const [first] = decideStewardship(world.view, now(0)).rewrites;
  t.equal(first?.next.to, 'h3');
  world.assign(web1, 'h1', first?.next ?? {});
  const { state } = decideCallingOff(noMoves, world.view, 0);
  const failed = decideCallingOff(state, world.view, moveBoundMs);
  world.assign(
    web1,
    'h1',
    stays(world.view, failed.calledOff[0] ?? { role: web1, reason: '' })[0]?.next ?? {},
  );
  t.match(decideStewardship(world.view, now(moveBoundMs), failed.state).rewrites, [
    { next: { to: 'h4' } },
  ]);
  for (const name of ['h2', 'h4']) world.remove(hostKey(name));
  t.same(decideStewardship(world.view, now(moveBoundMs), failed.state).rewrites, []);
  const rested = decideCallingOff(failed.state, world.view, moveBoundMs + moveRestMs);
  t.match(decideStewardship(world.view, now(moveBoundMs + moveRestMs), rested.state).rewrites, [
    { next: { to: 'h3' } },
  ]);
  t.end();
});
