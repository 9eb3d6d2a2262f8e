import { type Test, test } from 'tap';
import { PowerFencing } from '../../src/agent/power-fencing.js';
import { put } from '../../src/agent/transactions.js';
import type { PowerConfig } from '../../src/config/types.js';
import { assignmentKey, configKey, fencedKey, hostKey, voteKey } from '../../src/control/keys.js';
import type { AssignmentRecord, VoteRecord } from '../../src/control/records.js';
import { openStage, quiet } from './stage.js';

const power: PowerConfig = {
  agent: 'fence_test',
  options: {},
  passwordFile: null,
  action: 'off',
  timeoutMs: 1_000,
};
const vote = (controller: string, state: VoteRecord['state'] = 'expired') => {
  const record: VoteRecord = { state, lastAckAgoMs: 202, atMs: 900, bootId: 'boot' };
  return put(voteKey('h4', 1, controller), record);
};
const web1: AssignmentRecord = {
  host: 'h4',
  incarnation: 1,
  epoch: 1,
  state: 'assigned',
  cause: 'placed',
  reason: '',
  to: null,
  failover: null,
};

/** Leader h1; h4 carries web1, may be switched off, and its lease is not enforced. */
async function openLeader(t: Test) {
  const stage = await openStage(t, 'h1');
  const { store, watch, config, signal } = stage;
  const hosts = config.hosts.map((host) => ({ ...host, power }));
  await store.transact({
    compare: [],
    write: [
      put(configKey, { generation: 2, config: { ...config, hosts } }),
      put(hostKey('h4'), { incarnation: 1, bootToken: 'h4', enforced: false }),
      put(assignmentKey('personality', 'web1'), web1),
    ],
  });
  const off: string[] = [];
  const fencing = new PowerFencing({
    ...stage,
    log: quiet,
    power: {
      switchOff: async (host) => {
        off.push(host);
      },
    },
  });
  t.teardown(() => fencing.stop());
  watch.onChange(() => fencing.look());
  fencing.begin({ kind: 'exists', key: configKey });
  watch.start(signal);
  return { ...stage, off };
}

test('a host that a majority voted out for good is switched off, and that is recorded', async (t) => {
  const { store, until, watch, off } = await openLeader(t);
  await store.transact({ compare: [], write: [vote('h1'), vote('h2')] });
  await until(() => watch.view.fenced.has('h4/1'));
  t.same(off, ['h4']);
  t.ok(await store.get(fencedKey('h4', 1)));
});

/** What the leader's journal says, and the moment at which it says why a host is left on. */
function leftOn({ journal }: Awaited<ReturnType<typeof openLeader>>) {
  const said: string[] = [];
  const told = new Promise<readonly string[]>((resolve) => {
    const event = journal.event.bind(journal);
    journal.event = (kind, subject, text) => {
      event(kind, subject, text);
      said.push(text);
      if (text.startsWith('left on')) resolve(said);
    };
  });
  return told;
}

test('no host is switched off for a vote that was withdrawn, though the watch is behind', async (t) => {
  const leader = await openLeader(t);
  const { store, until, watch, off } = leader;
  const told = leftOn(leader);
  const { revision } = await store.transact({
    compare: [],
    write: [vote('h1'), vote('h2', 'withdrawn')],
  });
  await until(() => watch.view.votes.has('h4/1'));
  watch.learn([vote('h2')], revision + 1);
  t.ok((await told).includes('left on: a vote against h4/1 was withdrawn'));
  t.same(off, []);
});

test('no host is switched off that is back, though the watch is behind', async (t) => {
  const leader = await openLeader(t);
  const { store, until, watch, off } = leader;
  await until(() => watch.view.hosts.has('h4'));
  const told = leftOn(leader);
  const host = put(hostKey('h4'), { incarnation: 2, bootToken: 'h4b', enforced: false });
  const { revision } = await store.transact({ compare: [], write: [host] });
  await until(() => watch.view.hosts.get('h4')?.value.incarnation === 2);
  // The votes of before, seen on top of the enrolment of before.
  const before = put(hostKey('h4'), { incarnation: 1, bootToken: 'h4', enforced: false });
  watch.learn([before], revision + 1);
  await store.transact({ compare: [], write: [vote('h1'), vote('h2')] });
  t.ok((await told).includes('left on: it is back as h4/2'));
  t.same(off, []);
});
