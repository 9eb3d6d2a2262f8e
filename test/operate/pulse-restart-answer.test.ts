import { test } from 'tap';
import { put } from '../../src/agent/transactions.js';
import { announce } from '../../src/cli/run/pulse-restart.js';
import { configKey, hostKey, longerKey, reportKey } from '../../src/control/keys.js';
import { ViewKeeper } from '../../src/control/view.js';
import { MemoryStore } from '../../src/store/memory.js';
import type { Store, Transaction } from '../../src/store/types.js';
import { clusterConfig } from '../control/world.js';

/** A store whose answer to the first try of each transaction is lost, and three controllers that are well. */
async function forgetful() {
  const inner = new MemoryStore();
  const config = clusterConfig();
  const report = { incarnation: 1, granting: true, personalities: [], services: [], health: [] };
  await inner.transact({
    compare: [],
    write: [
      put(configKey, { generation: 1, config }),
      ...config.hosts.map(({ name }) => put(hostKey(name), { incarnation: 1, bootToken: name })),
      ...config.hosts.map(({ name }) => put(reportKey(name), report)),
    ],
  });
  const store = {
    get: (key: string) => inner.get(key),
    transact: async (transaction: Transaction) => {
      await inner.transact(transaction);
      return inner.transact(transaction);
    },
  };
  const view = async () => {
    const keeper = new ViewKeeper();
    keeper.reset((await inner.list('')).entries);
    return keeper.view;
  };
  return { inner, cluster: { store: store as Store, view } };
}

test('a longer lease whose answer was lost is no other’s: pulse is restarted', async (t) => {
  const { inner, cluster } = await forgetful();
  await announce(cluster, 'h1', 'nonce', AbortSignal.timeout(5_000));
  const record = JSON.parse((await inner.get(longerKey('h1')))?.value ?? '{}') as object;
  t.match(record, { incarnation: 1, nonce: 'nonce' });
  const { entries } = await inner.list('audit/');
  t.equal(entries.length, 1, 'asked for once');
});

test('that of another controller is waited for', async (t) => {
  const { inner, cluster } = await forgetful();
  const other = put(longerKey('h2'), { incarnation: 1, nonce: 'other', leaseMs: 10_000 });
  await inner.transact({ compare: [], write: [other] });
  const asked = announce(cluster, 'h1', 'nonce', AbortSignal.timeout(1_000));
  await t.rejects(asked, { name: 'AbortError' });
  t.equal(await inner.get(longerKey('h1')), undefined);
});
