import { rewriteTransaction } from '../agent/transactions.js';
import { drainedKey } from '../control/keys.js';
import { draining } from '../control/stewardship.js';
import { parseRoleId, ViewKeeper } from '../control/view.js';
import type { FaultMaker } from './fault.js';
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
          const assignment = view.assignments.get(`personality/${name}`)?.value;
          if (assignment?.state !== 'assigned' || assignment.host === to) return;
          const [rewrite] = draining(view, role, to, 'move', 'asked for');
          if (rewrite !== undefined) await world.operator.transact(rewriteTransaction(rewrite));
        }),
      ),
    end: () => {},
  };
};

export const operatorActs: Readonly<Record<string, FaultMaker>> = { drain, move };
