import type { Test } from 'tap';
import { faultKinds } from '../../src/simulate/faults.js';
import { run, watchedMs } from '../../src/simulate/run.js';
import { variant } from '../../src/simulate/variant.js';

/** Seed 2: three controllers, leases of 200 ms. */
const config = variant(2);
const leaseMs = config.timing.leaseMs;
/** Steps of up to 100 ms in all, and now and then a watch of etcd that is 400 ms late. */
const takeoverMs = 600;

/** Each host’s power is cut under so many seeds: the lease, and then what a takeover takes. */
export async function powerCuts(t: Test, seeds: number): Promise<void> {
  for (let seed = 1; seed <= seeds; seed++) {
    for (const host of ['h1', 'h2', 'h3']) {
      const { gaps, violations } = await run({
        config,
        seed,
        faults: 0,
        kills: [{ host, atMs: 2_000 }],
      });
      t.same(violations, []);
      for (const { role, startMs, endMs } of gaps) {
        const gapMs = endMs - startMs;
        t.ok(gapMs < leaseMs * 1.01 + takeoverMs, `${role} from ${host}: ${gapMs.toFixed(0)} ms`);
      }
    }
  }
}

/** Faults of one controller after the other, under so many seeds. */
export async function noLeaseLapses(t: Test, seeds: number): Promise<void> {
  const single = ['pulse-stopped', 'pulse-killed', 'pulse-flaps', 'agent-killed', 'agent-stopped'];
  t.same(
    single.filter((kind) => faultKinds[kind] === undefined),
    [],
  );
  // The check `undisturbed` judges each lapse; what matters here is that there is none at all.
  for (let seed = 1; seed <= seeds; seed++) {
    const { violations } = await run({ config, seed, faults: 15, kinds: [...single, 'link-cut'] });
    t.same(violations, []);
  }
}

/** The store is slow, away or without a leader, under so many seeds: nothing that runs is disturbed. */
export async function nothingIsDisturbed(t: Test, seeds: number): Promise<void> {
  const store = ['etcd-member', 'etcd-leader', 'etcd-majority', 'etcd-election', 'etcd-slow'];
  const kinds = [...store, 'etcd-compaction', 'cut-from-store', 'agent-killed'];
  for (let seed = 1; seed <= seeds; seed++) {
    const { gaps, violations } = await run({ config, seed, faults: 15, kinds });
    t.same([gaps, violations], [[], []]);
  }
}

/** So many clusters, each of another seed, from power on. */
export async function madeUpClusters(t: Test, seeds: number): Promise<void> {
  // Of seed 398 an adapter of the simulator once lacked a method that few clusters need.
  for (const seed of [398, ...Array.from({ length: seeds }, (_, index) => index + 1)]) {
    const { violations, simulatedMs } = await run({ config: variant(seed), seed, faults: 0 });
    t.same(violations, []);
    t.ok(simulatedMs < 9_000 + watchedMs, `seed ${seed}: ${simulatedMs} ms`);
  }
}

/** A planned move waits for whoever is away, under these seeds: the role goes on working. */
export async function movesThatWait(t: Test, seeds: readonly number[]): Promise<void> {
  const away = ['cut-from-store', 'target-killed', 'target-stopped', 'late-news', 'late-requests'];
  const kinds = ['drain', 'move', 'cut-from-store', ...away];
  for (const seed of seeds) {
    const { violations } = await run({ config: variant(seed), seed, faults: 25, kinds });
    t.same(violations, []);
  }
}

/** A host that some controllers hear and another does not, while the rest are dead, under these seeds. */
export async function halfHeard(t: Test, seeds: readonly number[]): Promise<void> {
  for (const seed of seeds) {
    const { faults, violations } = await run({
      config: variant(seed),
      seed,
      faults: 1,
      kinds: ['half-heard'],
    });
    t.match(faults, [{ text: /do not hear each other/ }]);
    t.same(violations, []);
  }
}

/** Who the controllers are changes while links are cut and controllers stop. */
export async function changesUnderFaults(t: Test): Promise<void> {
  const changes = ['controllers', 'controllers', 'controllers'];
  const cuts = ['isolated', 'link-cut', 'split', 'noisy-network', 'pause', 'pulse-stopped'];
  const kinds = [...changes, ...cuts, 'agent-stopped', 'agent-killed'];
  const { violations } = await run({ config: variant(5185), seed: 5185, faults: 30, kinds });
  t.same(violations, []);
}
