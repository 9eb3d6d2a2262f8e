import { test } from 'tap';
import { mostWrites } from '../../src/agent/at-most.js';
import { Leadership } from '../../src/agent/leadership.js';
import { put } from '../../src/agent/transactions.js';
import { assignmentKey, configKey, hostKey, voteKey } from '../../src/control/keys.js';
import type { AssignmentRecord } from '../../src/control/records.js';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import type { Store } from '../../src/store/types.js';
import { clusterConfig } from '../control/world.js';
import { openStage, quiet } from './stage.js';

const count = 2 * mostWrites;
const names = Array.from({ length: count }, (_, index) => `p${index}`);
const config = clusterConfig({
  services: [],
  personalities: names.flatMap((name) =>
    clusterConfig()
      .personalities.slice(0, 1)
      .map((one) => ({ ...one, name })),
  ),
});

const onHost = (host: string, epoch: number): AssignmentRecord => ({
  ...{ host, incarnation: 1, epoch, state: 'assigned', cause: 'placed', reason: '' },
  ...{ to: null, failover: null },
});

test('what another controller has committed meanwhile is not sent again', async (t) => {
  const backend = new MemoryBackend();
  const another = new MemoryStore(backend);
  const sent: string[] = [];
  class Counted extends MemoryStore {
    override async transact(...[transaction, options]: Parameters<Store['transact']>) {
      const roles = transaction.write.filter(({ key }) => key.startsWith('assign/'));
      sent.push(...roles.map(({ key }) => key));
      if (roles.length > 0 && sent.length === 1) await others(sent[0] ?? '');
      return super.transact(transaction, options);
    }
  }
  const store = new Counted(backend);
  const stage = await openStage(t, 'h2', another);
  const { watch, clock, timers, journal, signal, until } = stage;
  const others = async (mine: string) => {
    const write = names
      .map((name) => assignmentKey('personality', name))
      .filter((key) => key !== mine)
      .map((key) => put(key, onHost('h4', 2)));
    await another.transact({ compare: [], write });
    await until(() => [...watch.view.assignments.values()].some(({ value }) => value.epoch === 2));
  };
  const vote = { state: 'expired', lastAckAgoMs: 210, atMs: 900, bootId: 'boot' };
  await another.transact({
    compare: [],
    write: [
      put(configKey, { generation: 2, config }),
      ...['h1', 'h2', 'h4'].map((name) =>
        put(hostKey(name), { incarnation: 1, bootToken: name, enforced: true }),
      ),
      put(hostKey('h3'), { incarnation: 1, bootToken: 'h3', enforced: true }),
      ...names.map((name) => put(assignmentKey('personality', name), onHost('h3', 1))),
      ...['h1', 'h2'].map((one) => put(voteKey('h3', 1, one), vote)),
    ],
  });
  const leadership = new Leadership({
    ...{ host: 'h2', bootId: 'boot', store, watch, clock, journal, timers, log: quiet },
    power: { switchOff: async () => undefined },
    liveness: () => ({ lapsed: new Set() }),
  });
  leadership.start(signal);
  watch.start(signal);
  await until(() =>
    names.every((name) => watch.view.assignments.get(`personality/${name}`)?.value.epoch === 2),
  );
  await leadership.stop();
  t.ok(sent.length <= mostWrites, `${sent.length} of ${count} were sent`);
});
