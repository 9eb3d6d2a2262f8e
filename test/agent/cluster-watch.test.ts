import { test } from 'tap';
import { ClusterWatch } from '../../src/agent/cluster-watch.js';
import { configKey, hostKey } from '../../src/control/keys.js';
import { applyConfig } from '../../src/operate/apply.js';
import { personHere } from '../../src/operate/audit.js';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { clusterConfig } from '../control/world.js';

function watching(log?: { error(fields: object, text: string): void }) {
  const store = new MemoryStore(new MemoryBackend());
  const stop = new AbortController();
  const watch = new ClusterWatch(store, log);
  const put = (key: string, value: string) =>
    store.transact({ compare: [], write: [{ kind: 'put', key, value }] });
  return { watch, put, stop };
}

test('one listener that fails keeps no other from the news', async (t) => {
  const said: string[] = [];
  const { watch, put, stop } = watching({ error: (_, text) => said.push(text) });
  watch.onChange(() => {
    throw new Error('no network blue in the configuration');
  });
  watch.start(stop.signal);
  await put(hostKey('h1'), '{"incarnation":3,"bootToken":"x"}');
  await watch.until(() => watch.view.hosts.has('h1'), stop.signal);
  t.match(said, [/no network blue/]);
  stop.abort();
});

test('who waits for something that cannot be looked at is told', async (t) => {
  const { watch, put, stop } = watching();
  watch.start(stop.signal);
  const waiting = watch.until(() => {
    if (watch.view.hosts.size > 0) throw new Error('what a host is this');
    return false;
  }, stop.signal);
  await put(hostKey('h1'), '{"incarnation":3,"bootToken":"x"}');
  await t.rejects(waiting, { message: /what a host/ });
  stop.abort();
});

test('garbage in the store ends nobody’s watch', async (t) => {
  const { watch, put, stop } = watching();
  watch.start(stop.signal);
  for (const key of [configKey, 'assign/personality/web1', 'report/h1', 'hosts/h2']) {
    await put(key, 'null');
  }
  await put(hostKey('h1'), '{"incarnation":3,"bootToken":"x"}');
  await watch.until(() => watch.view.hosts.has('h1'), stop.signal);
  t.same([...watch.view.hosts.keys()], ['h1']);
  stop.abort();
});

test('the store hears of the cluster’s lease before anybody stands for an office', async (t) => {
  const backend = new MemoryBackend();
  const store = new MemoryStore(backend);
  const stop = new AbortController();
  const said: string[] = [];
  const suit = store.suit.bind(store);
  store.suit = (leaseMs) => {
    said.push(`lease ${leaseMs}`);
    suit(leaseMs);
  };
  const watch = new ClusterWatch(store);
  watch.onChange(() => said.push('news'), ['config']);
  watch.start(stop.signal);
  await watch.until(() => watch.known, stop.signal);
  const { timing } = clusterConfig();
  const slow = clusterConfig({ timing: { ...timing, leaseMs: 4_000 } });
  await applyConfig(store, slow, personHere());
  await watch.until(() => said.includes('lease 4000'), stop.signal);
  t.same(said.slice(0, 3), ['news', 'lease 4000', 'news']);
  stop.abort();
});
