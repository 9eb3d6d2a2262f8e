import { test } from 'tap';
import { waitUntilSettled } from '../../src/cli/run/apply.js';
import { within } from '../../src/deadline.js';
import { enterNetworkNamespace } from '../../src/ffi/namespace.js';
import { ClusterWorld } from '../../src/lab/scenario-world.js';
import { settle } from '../../src/lab/settle.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { pair } from './harness.js';
import { buildLab, run } from './nodes.js';

const bin = new URL('../../../bin/understudy', import.meta.url).pathname;
const gate = '/run/lab/gate';
/** On h3 the agent begins when somebody writes to the gate. */
const late = `if [ "$(hostname)" = h3 ]; then mkfifo ${gate}; read -r word < ${gate}; fi; exec "$@"`;
const own = (daemon: string) => [process.execPath, bin, daemon];

test('a lab is up when every controller grants, not as soon as everything runs', async (t) => {
  const lab = await buildLab(t, pair.replace('CLUSTER', 'late'), {
    programs: {
      agent: ['bash', '-c', late, 'late', ...own('agent')],
      pulse: own('pulse'),
      target: own('target'),
    },
  });
  const { signal } = new AbortController();
  const settled = settle(lab, { signal, say: (line) => t.comment(line) }).then(async () => {
    const world = await ClusterWorld.open(lab, signal);
    try {
      let seen: unknown;
      await world.until((status) => {
        seen = status;
        return true;
      }, 10_000);
      return seen;
    } finally {
      await world.close();
    }
  });
  enterNetworkNamespace(lab.namespacePath('ctl'));
  const prefix = `/understudy/${lab.plan.config.cluster}/`;
  const store = new EtcdStore({ endpoints: lab.endpoints, prefix, identity: 'test' });
  t.teardown(() => store.stop());
  await store.start(signal);
  await waitUntilSettled(store, within(60_000));
  await run(lab, 'h3', 'bash', '-c', `mkfifo ${gate} 2> /dev/null; echo go > ${gate}`);
  t.match(
    await settled,
    { hosts: ['h1', 'h2', 'h3'].map((name) => ({ name, state: 'up', granting: true })) },
    'also the one that came late',
  );
});
