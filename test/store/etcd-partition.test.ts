import t from 'tap';
import { enterNetworkNamespace } from '../../src/ffi/namespace.js';
import { Follower, ip, leaderOf, open, startMembers } from './etcd-cluster.js';

/**
 * Three members: two where the test is, in a network namespace of its own, and one in another that
 * has a link for its peers and one for its clients; so its peers can be cut off it alone.
 */
const home = `ustest-${process.pid}-home`;
const away = `ustest-${process.pid}-away`;

function lay(): void {
  for (const name of [home, away]) ip('netns', 'add', name);
  enterNetworkNamespace(`/run/netns/${home}`);
  ip('link', 'set', 'lo', 'up');
  for (const [link, subnet] of [
    ['peers', '10.1.0'],
    ['clients', '10.2.0'],
  ] as const) {
    ip('link', 'add', link, 'type', 'veth', 'peer', 'name', link, 'netns', away);
    ip('address', 'add', `${subnet}.1/24`, 'dev', link);
    ip('link', 'set', link, 'up');
    ip('-n', away, 'address', 'add', `${subnet}.2/24`, 'dev', link);
    ip('-n', away, 'link', 'set', link, 'up');
  }
}

t.test('a watch leaves a member that is cut off the majority but still talks', async (t) => {
  lay();
  t.teardown(() => {
    for (const name of [home, away]) ip('netns', 'delete', name);
  });
  const member = (name: string, address: string, port: number) => ({
    name,
    address,
    clientPort: port,
    peerPort: port + 1,
  });
  const etcd = await startMembers(t, [
    {
      ...member('away', '10.1.0.2', 2379),
      clientAddress: '10.2.0.2',
      commandPrefix: ['nsenter', `--net=/run/netns/${away}`],
    },
    member('home1', '10.1.0.1', 2379),
    member('home2', '10.1.0.1', 2389),
  ]);
  const { store, moves } = open(t, etcd, '/understudy/cut/');
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const follower = new Follower(store, stop.signal);
  await follower.until(() => follower.snapshots === 1);
  const writer = open(t, { endpoints: etcd.endpoints.slice(1) }, '/understudy/cut/').store;
  const write = (value: string) =>
    writer.transact(
      { compare: [], write: [{ kind: 'put', key: 'w/a', value }] },
      { budgetMs: 10_000 },
    );
  await write('before');
  await follower.until(() => follower.values.includes('before'));
  t.comment(`member ${await leaderOf(etcd)} leads`);

  ip('link', 'set', 'peers', 'down');
  await write('during');
  const written = performance.now();
  await follower.until(() => follower.values.includes('during'));
  const tookMs = performance.now() - written;
  t.ok(tookMs < 3_000, `told after ${Math.round(tookMs)} ms`);
  t.equal(moves[0]?.endpoint, etcd.endpoints[0], 'the watch had been on the member cut off');
  t.equal(follower.snapshots, 1);

  // Reads never come from the minority, although it answers.
  const minority = open(t, { endpoints: etcd.endpoints.slice(0, 1) }, '/understudy/cut/').store;
  await t.rejects(minority.get('w/a', { budgetMs: 500 }), { code: 'US_STORE_UNREACHABLE' });

  ip('link', 'set', 'peers', 'up');
  t.equal((await minority.get('w/a', { budgetMs: 20_000 }))?.value, 'during');
});
