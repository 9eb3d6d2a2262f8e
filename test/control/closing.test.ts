import { test } from 'tap';
import { commitsWithVote, mostCommitsWithVote } from '../../src/control/closing.js';
import type { Circumstances } from '../../src/control/failover.js';
import type { VoteRecord } from '../../src/control/records.js';
import { clusterConfig, World, web1, web2 } from './world.js';

const h1 = { host: 'h1', incarnation: 1 };
const mine: VoteRecord = { state: 'expired', lastAckAgoMs: 205, atMs: 1_000, bootId: 'boot' };
const now: Circumstances = {
  me: 'h2',
  leader: false,
  nowMs: 1_010,
  unixMs: 0,
  bootId: 'boot',
  liveness: { lapsed: new Set(['h1/1']) },
};
const commits = (world: World) => commitsWithVote(world.view, h1, mine, now);

function placed(): World {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  return world;
}

test('the vote that makes the majority is committed on in its own transaction', (t) => {
  const world = placed();
  const revision = world.vote('h1', 1, 'h3');
  const [commit, ...more] = commits(world);
  t.same(more, []);
  t.match(commit, { from: h1, next: { host: 'h3', epoch: 2 }, record: { committedBy: 'h2' } });
  t.match(commit?.votes, [{ controller: 'h3', revision }], 'compared; the own one is written');
  t.equal(commit?.votes.length, 1);
  t.same(commit?.record?.evidence, [
    { controller: 'h2', lastAckAgoMs: 205 },
    { controller: 'h3', lastAckAgoMs: 210 },
  ]);
  t.equal(commit?.record?.zeroMs, 795, 'of the own vote too');
  t.end();
});

test('no other vote is', (t) => {
  const world = placed();
  t.same(commits(world), [], 'the first of three');
  world.vote('h1', 1, 'h3', { state: 'withdrawn' });
  t.same(commits(world), [], 'the other was taken back');
  world.vote('h1', 1, 'h4');
  t.same(commits(world), [], 'the other is no controller’s');
  world.vote('h1', 2, 'h3');
  t.same(commits(world), [], 'the other is against another incarnation');
  world.vote('h1', 1, 'h2');
  t.same(commits(world), [], 'one’s own counts once');
  world.vote('h1', 1, 'h1');
  t.same(commits(world), [], 'a majority stands already: the leader goes first');
  t.end();
});

test('nor where there is nothing to move, or no proof of silence, or nobody to move to', (t) => {
  const world = placed();
  world.vote('h1', 1, 'h3');
  t.equal(commits(world).length, 1);
  world.enrol('h1', 1, false);
  t.same(commits(world), [], 'its lease is not enforced');
  world.enrol('h1', 1);
  for (const host of ['h2', 'h3', 'h4']) world.drain(host);
  t.same(commits(world), [], 'no spare');
  for (const host of ['h2', 'h3', 'h4']) world.remove(`drained/${host}`);
  t.equal(commits(world).length, 1);
  world.retire('h1', 1);
  t.same(commits(world), []);
  t.end();
});

test('while another host’s roles are to be moved it waits its turn; not for one that stays', (t) => {
  const world = placed();
  world.vote('h1', 1, 'h3');
  for (const controller of ['h1', 'h3']) world.vote('h2', 1, controller);
  t.same(commits(world), [], 'whoever moves web2 must know where web1 went');
  world.retire('h2', 1);
  world.enrol('h2', 2);
  world.assign(web2, 'h2', { incarnation: 2 });
  t.equal(commits(world).length, 1);
  t.end();
});

test('nor while another one that was silent too may have to be moved in a moment', (t) => {
  const world = placed();
  world.vote('h1', 1, 'h3');
  const seeing = (...lapsed: readonly string[]) =>
    commitsWithVote(world.view, h1, mine, { ...now, liveness: { lapsed: new Set(lapsed) } });
  t.same(seeing('h1/1', 'h2/1'), [], 'it holds web2');
  t.equal(seeing('h1/1', 'h4/1').length, 1, 'a spare has nothing to lose');
  for (const controller of ['h1', 'h3']) world.vote('h2', 1, controller);
  t.same(seeing('h1/1', 'h2/1'), [], 'it is to be moved now');
  world.retire('h2', 1);
  world.assign(web2, 'h4', { epoch: 2 });
  t.equal(seeing('h1/1', 'h2/1').length, 1, 'it was moved');
  t.end();
});

test('as many roles as a transaction takes, first those of the highest priority', (t) => {
  const [base] = clusterConfig().personalities;
  if (base === undefined) throw new Error('no personality to copy');
  const personalities = Array.from({ length: 20 }, (_, index) => ({
    ...base,
    name: `p${index}`,
    priority: 100 + index,
  }));
  const world = new World(clusterConfig({ personalities, services: [] }));
  for (const { name } of personalities) world.assign({ kind: 'personality', name }, 'h1');
  world.vote('h1', 1, 'h3');
  const found = commits(world);
  t.equal(found.length, mostCommitsWithVote);
  t.equal(found[0]?.role.name, 'p19');
  t.end();
});
