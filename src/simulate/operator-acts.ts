import { put, rewriteTransaction } from '../agent/transactions.js';
import type { ClusterConfig } from '../config/types.js';
import { decideApply } from '../control/apply.js';
import { allocationKey, configKey, drainedKey } from '../control/keys.js';
import { draining } from '../control/rewrites.js';
import { parseRoleId, ViewKeeper } from '../control/view.js';
import { moveTarget } from '../operate/move.js';
import type { FaultMaker } from './fault.js';
import { digest } from './prepare.js';
import type { Random } from './random.js';
import type { World } from './world.js';

/** The store as the operator's command would read it. */
async function viewOf(world: World) {
  const keeper = new ViewKeeper();
  const { entries } = await world.operator.list('');
  keeper.reset(entries);
  return keeper.view;
}

/** What an operator does meanwhile may fail, as anybody's command may: then nothing happened. */
function tried(work: Promise<unknown>): void {
  work.catch(() => {});
}

const drain: FaultMaker = (world, random) => {
  const host = random.pick([...world.hosts.keys()]);
  const write = (draining: boolean) => {
    const key = drainedKey(host);
    const operation = draining
      ? ({ kind: 'put', key, value: JSON.stringify({ atUnixMs: 0 }) } as const)
      : ({ kind: 'delete', key } as const);
    tried(world.operator.transact({ compare: [], write: [operation] }, { budgetMs: 20_000 }));
  };
  return {
    kind: 'drain',
    text: `${host} drained`,
    parts: [],
    lastsMs: random.between(500, 4_000),
    begin: () => write(true),
    end: () => write(false),
  };
};

const move: FaultMaker = (world, random) => {
  const up = [...world.hosts.values()].filter((host) => host.up);
  if (up.length === 0 || world.config.personalities.length === 0) return undefined;
  const to = random.pick(up).name;
  const name = random.pick(world.config.personalities).name;
  const role = parseRoleId(`personality/${name}`);
  return {
    kind: 'move',
    text: `${name} moved to ${to}`,
    parts: [],
    lastsMs: 0,
    begin: () =>
      tried(
        viewOf(world).then(async (view) => {
          // What the command refuses does not happen.
          const [rewrite] = draining(view, role, moveTarget(view, role, to), 'move', 'asked for');
          if (rewrite !== undefined) await world.operator.transact(rewriteTransaction(rewrite));
        }),
      ),
    end: () => {},
  };
};

/** As `apply` does; what it refuses does not happen. */
async function apply(world: World, change: (config: ClusterConfig) => ClusterConfig) {
  const view = await viewOf(world);
  const { config: kept } = view;
  if (kept === undefined) return;
  const zeroes = (bytes: number) => '00'.repeat(bytes);
  const decision = decideApply(view, change(kept.value.config), digest, zeroes);
  if (decision.kind !== 'apply') return;
  const { config, allocation } = decision.application;
  await world.operator.transact({
    compare: [{ kind: 'revision', key: configKey, modRevision: kept.revision }],
    write: [put(configKey, config), put(allocationKey, allocation)],
  });
}

/** One is replaced, most often; or there are more or fewer of them, perhaps none of the old ones. */
function otherControllers(random: Random, world: World, old: readonly string[]): readonly string[] {
  const names = [...world.hosts.keys()];
  const others = names.filter((name) => !old.includes(name));
  if (others.length > 0 && random.chance(0.6)) {
    const leaving = random.pick(old);
    return [...old.filter((name) => name !== leaving), random.pick(others)];
  }
  const counts = [1, 3, 3, 5].filter((count) => count <= names.length);
  const wanted = random.pick(counts);
  const chosen: string[] = [];
  while (chosen.length < wanted) {
    chosen.push(random.pick(names.filter((name) => !chosen.includes(name))));
  }
  return chosen.sort();
}

const controllers: FaultMaker = (world, random) => {
  const wanted = otherControllers(random, world, random.pick([world.config.controllers, ['h1']]));
  const goBack = random.chance(0.2);
  return {
    kind: 'controllers',
    text: goBack ? 'controllers as at first' : `controllers changed to ${wanted.join(', ')}`,
    parts: [],
    lastsMs: 0,
    begin: () =>
      tried(
        apply(world, (config) => {
          const next = goBack ? world.config.controllers : wanted;
          return { ...config, controllers: next };
        }),
      ),
    end: () => {},
  };
};

export const operatorActs: Readonly<Record<string, FaultMaker>> = { drain, move, controllers };
