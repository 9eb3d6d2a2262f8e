import { test } from 'tap';
import { put } from '../../src/agent/transactions.js';
import { assignmentKey, configKey, hostKey } from '../../src/control/keys.js';
import { ViewKeeper } from '../../src/control/view.js';
import { move } from '../../src/operate/move.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store, Transaction } from '../../src/store/types.js';
import { clusterConfig } from '../control/world.js';

const actor = { who: 'root', from: 'command line on h1', host: 'h1' };
const key = assignmentKey('personality', 'web1');
const placed = { incarnation: 1, cause: 'placed', reason: '', to: null, failover: null };

/** web1 on h1, and a store whose answer to the first try of each transaction is lost. */
async function forgetful(between: (store: Store, transaction: Transaction) => Promise<unknown>) {
  const inner = new MemoryStore();
  const config = clusterConfig();
  await inner.transact({
    compare: [],
    write: [
      put(configKey, { generation: 1, config }),
      ...config.hosts.map(({ name }) => put(hostKey(name), { incarnation: 1, bootToken: name })),
      put(key, { ...placed, host: 'h1', epoch: 1, state: 'assigned' }),
    ],
  });
  const keeper = new ViewKeeper();
  const { entries, revision } = await inner.list('');
  keeper.reset(entries, revision);
  const store: Pick<Store, 'get' | 'transact'> = {
    get: (wanted) => inner.get(wanted),
    transact: async (transaction) => {
      await between(inner, transaction);
      return inner.transact(transaction);
    },
  };
  return { store: store as Store, view: keeper.view };
}

const handedOver = put(key, { ...placed, host: 'h4', epoch: 2, state: 'assigned' });

test('a move whose answer was lost is no refusal, even when the owner has handed over since', async (t) => {
  const { store, view } = await forgetful(async (inner, transaction) => {
    await inner.transact(transaction);
    await inner.transact({ compare: [], write: [handedOver] });
  });
  t.same(await move(store, view, 'web1', 'h4', actor), {
    personality: 'web1',
    from: 'h1',
    to: 'h4',
  });
});

test('a move is refused when somebody else’s change came first', async (t) => {
  const { store, view } = await forgetful((inner) =>
    inner.transact({ compare: [], write: [handedOver] }),
  );
  await t.rejects(move(store, view, 'web1', 'h4', actor), { code: 'US_MOVE_REFUSED' });
});
