import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { assignmentKey, configKey, maskKey } from '../../src/control/keys.js';
import { readTargetConfig, runTarget } from '../../src/storage/target-main.js';
import { initiatorName } from '../../src/storage/types.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { startEtcd, waitForEtcd } from '../../src/store/etcd-process.js';
import { configWith } from './cluster-file.js';
import { enterOwnNamespace, startLunServer, until } from './lun-server.js';

const assigned = { incarnation: 1, state: 'assigned', to: null, failover: null };
const never = new AbortController().signal;

test('the daemon on a storage host: from an assignment in etcd to the mask on tgt', async (t) => {
  enterOwnNamespace(t);
  const server = await startLunServer(t);
  const target = 'iqn.2026-11.test:daemon';
  server.addTarget({ tid: 1, name: target });
  const etcd = startEtcd({
    members: [{ name: 'one', address: '127.0.0.1', clientPort: 2379, peerPort: 2380 }],
    directory: join(server.directory, 'etcd'),
    output: 'ignore',
  });
  t.teardown(() => etcd.stop());
  await waitForEtcd(etcd.endpoints, 10_000);
  const store = new EtcdStore({ endpoints: etcd.endpoints, prefix: '/understudy/test/' });
  await store.start(never);
  t.teardown(() => store.stop());

  const configFile = join(server.directory, 'target.yaml');
  writeFileSync(
    configFile,
    JSON.stringify({
      cluster: 'test',
      store: { endpoints: etcd.endpoints },
      controlPort: server.controlPort,
      ipcSocket: server.ipcSocket,
      stateDirectory: server.directory,
    }),
  );
  const stop = new AbortController();
  const running = runTarget({ configFile, signal: stop.signal });
  const put = (key: string, value: object) =>
    store.transact({ compare: [], write: [{ kind: 'put', key, value: JSON.stringify(value) }] });
  await put(configKey, { generation: 1, config: configWith({ a: target }, { web1: ['a'] }) });
  for (const [epoch, host] of [
    [1, 'h1'],
    [2, 'h4'],
  ] as const) {
    const began = performance.now();
    await put(assignmentKey('personality', 'web1'), { ...assigned, host, epoch });
    await until(async () => {
      const entry = await store.get(maskKey(target));
      return entry !== undefined && JSON.parse(entry.value).epoch === epoch;
    });
    t.comment(`epoch ${epoch}: ${(performance.now() - began).toFixed(0)} ms from put to record`);
    const shown = server.tgtadm('--op', 'show', '--mode', 'target');
    t.equal(
      shown.split('ACL information:\n')[1]?.trim(),
      initiatorName('test', 'web1', host, epoch),
    );
  }
  await t.test(
    'a personality that leaves the file keeps its volume until it has let go',
    async (t) => {
      const admitted = () =>
        server.tgtadm('--op', 'show', '--mode', 'target').split('ACL information:\n')[1]?.trim();
      await put(configKey, { generation: 2, config: configWith({ a: target }, {}) });
      // Told after the definition, so that both have arrived once this one is recorded.
      const other = 'iqn.2026-11.test:other';
      server.addTarget({ tid: 2, name: other });
      await put(configKey, { generation: 3, config: configWith({ a: target, b: other }, {}) });
      await until(async () => (await store.get(maskKey(other))) !== undefined);
      t.match(admitted(), initiatorName('test', 'web1', 'h4', 2), 'it writes back');
      await put(assignmentKey('personality', 'web1'), {
        ...assigned,
        host: null,
        epoch: 3,
        state: 'unplaced',
      });
      await until(async () => admitted()?.includes('web1') === false);
      t.pass('then nobody is let in');
    },
  );
  stop.abort();
  await running;
});

test('a configuration with mistakes is refused, each with its path and line', async (t) => {
  const refused = (text: string) => {
    const file = join(t.testdir({ 'target.yaml': text }), 'target.yaml');
    try {
      readTargetConfig(file);
      return '';
    } catch (thrown) {
      t.match(thrown, { code: 'US_TARGET_CONFIG' });
      return (thrown as Error).message;
    }
  };
  const several = refused('cluster: test\nstore: {endpoints: []}\n\nx: 1\ntargets: scst\n');
  t.match(several, /line 2: store\.endpoints: /);
  t.match(several, /line 4: x: /);
  t.match(several, /line 5: targets: .*tgt.*lio/);
  const store = 'store: {endpoints: ["http://10.66.0.1:2379"]}';
  const only = refused(`cluster: test\n${store}\ntargets: lio\nipcSocket: /run/tgt\n`);
  t.match(only, /line 4: ipcSocket: only tgt has it/);
  t.match(refused('cluster: [\n'), /line 2/);
  t.match(refused('42\n'), /line 1: /);
  t.equal(refused(`cluster: test\n${store}\ntargets: lio\n`), '');
});
