import t from 'tap';
import { storeCompliance } from './compliance.js';
import {
  compact,
  Follower,
  freePorts,
  leaderOf,
  open,
  startOnLoopback,
  watchedMember,
} from './etcd-cluster.js';

t.test('the interface, on one member', async (t) => {
  const etcd = await startOnLoopback(t, 1);
  let prefixes = 0;
  storeCompliance(t, async (inner) => {
    const prefix = `/understudy/test${prefixes++}/`;
    return () => open(inner, etcd, prefix).store;
  });

  t.test('a long list comes in pages, all of one revision', async (t) => {
    const { store } = open(t, etcd, '/understudy/long/');
    for (let start = 0; start < 1_100; start += 100) {
      const write = Array.from({ length: 100 }, (_, index) => ({
        kind: 'put' as const,
        key: `k/${String(start + index).padStart(5, '0')}`,
        value: 'x',
      }));
      await store.transact({ compare: [], write });
    }
    const { entries } = await store.list('k/');
    t.equal(entries.length, 1_100);
    t.equal(entries.at(-1)?.key, 'k/01099');
    t.equal(new Set(entries.map(({ key }) => key)).size, 1_100);
  });

  t.test('many calls at once are no burden', async (t) => {
    const warnings: string[] = [];
    const note = (warning: Error) => warnings.push(warning.message);
    process.on('warning', note);
    t.teardown(() => process.off('warning', note));
    const { store } = open(t, etcd, '/understudy/many/');
    const gets = Array.from({ length: 200 }, () => store.get('a'));
    t.equal((await Promise.all(gets)).length, 200);
    t.same(warnings, []);
  });
});

t.test('with no member there, start says so within its budget', async (t) => {
  const [port = 0] = await freePorts(1);
  const { store } = open(t, { endpoints: [`http://127.0.0.1:${port}`] }, '/understudy/none/');
  const started = performance.now();
  await t.rejects(store.start(new AbortController().signal), {
    code: 'US_STORE_UNREACHABLE',
    reason: /ECONNREFUSED/,
  });
  t.ok(performance.now() - started < 4_000);
});

t.test('an endpoint that is none is refused', async (t) => {
  for (const endpoint of ['10.0.0.1:2379', 'ftp://10.0.0.1:2379', 'http://::1:2379', '']) {
    t.throws(() => open(t, { endpoints: [endpoint] }, '/understudy/none/'), {
      code: 'US_STORE_ENDPOINT',
    });
  }
  t.throws(() => open(t, { endpoints: [] }, '/understudy/none/'), { code: 'US_STORE_ENDPOINT' });
});

t.test('faults of three members', async (t) => {
  const etcd = await startOnLoopback(t, 3);
  const writer = open(t, etcd, '/understudy/faults/').store;
  const write = (key: string, value: string) =>
    writer.transact({ compare: [], write: [{ kind: 'put', key, value }] }, { budgetMs: 10_000 });

  await t.test('a frozen member holds up neither watch nor office', async (t) => {
    const { store, moves } = open(t, etcd, '/understudy/faults/');
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    const follower = new Follower(store, stop.signal);
    await follower.until(() => follower.snapshots === 1);
    const frozen = await watchedMember(etcd);
    let lost = false;
    await new Promise<void>((resolve) => {
      const listener = {
        elected: () => resolve(),
        lost: () => {
          lost = true;
        },
      };
      store.campaign('leader', 'reader', listener, stop.signal);
    });
    t.teardown(() => frozen.resume());
    frozen.pause();
    const started = performance.now();
    await write('w/a', 'while frozen');
    await follower.until(() => follower.values.includes('while frozen'));
    const tookMs = performance.now() - started;
    t.ok(tookMs < 3_000, `told after ${Math.round(tookMs)} ms`);
    t.ok(
      moves.some(({ endpoint }) => endpoint === frozen.endpoint),
      'the watch left that member',
    );
    await write('w/a', 'and on');
    await follower.until(() => follower.values.includes('and on'));
    t.equal(follower.snapshots, 1, 'it went on where it was');
    t.equal(await writer.holder('leader', { budgetMs: 10_000 }), 'reader');
    t.equal(lost, false, 'office was kept by renewing over another member');
  });

  await t.test('where leases are long, a store that stands still is waited for', async (t) => {
    const offices = ['patient', 'ordinary'].map((name) => {
      const { store, moves } = open(t, etcd, `/understudy/${name}/`);
      const stop = new AbortController();
      t.teardown(() => stop.abort());
      if (name === 'patient') store.suit(10_000);
      const follower = new Follower(store, stop.signal);
      let lose = () => {};
      const lost = new Promise<void>((resolve) => {
        lose = resolve;
      });
      const watching = () => follower.until(() => follower.snapshots === 1);
      const elected = new Promise<void>((resolve) =>
        store.campaign(
          'leader',
          name,
          { elected: () => resolve(), lost: () => lose() },
          stop.signal,
        ),
      );
      return { store, moves, lost, ready: Promise.all([elected, watching()]) };
    });
    const [patient, ordinary] = offices;
    if (patient === undefined || ordinary === undefined) throw new Error('two were opened');
    await Promise.all(offices.map(({ ready }) => ready));
    let patientLost = false;
    void patient.lost.then(() => {
      patientLost = true;
    });
    t.teardown(() => etcd.members.map((member) => member.resume()));
    for (const member of etcd.members) member.pause();
    await ordinary.lost;
    for (const member of etcd.members) member.resume();
    t.equal(await patient.store.holder('leader', { budgetMs: 20_000 }), 'patient');
    t.equal(patientLost, false, 'it kept its office');
    t.not(ordinary.moves.length, 0, 'the watch of the other one left its member');
    t.same(patient.moves, [], 'its own did not');
  });

  await t.test('what was compacted meanwhile is made up for by a new snapshot', async (t) => {
    const { store, moves } = open(t, etcd, '/understudy/faults/');
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    const follower = new Follower(store, stop.signal);
    await follower.until(() => follower.snapshots === 1);
    const frozen = await watchedMember(etcd);
    const other = etcd.members.find((member) => member !== frozen);
    t.teardown(() => frozen.resume());
    frozen.pause();
    for (const value of ['missed', 'missed too']) await write('w/b', value);
    const { revision } = await write('w/b', 'newest');
    await compact(other?.endpoint ?? '', revision);
    await follower.until(() => follower.snapshots === 2);
    t.ok(follower.values.includes('newest'));
    t.notOk(follower.values.includes('missed'));
    t.ok(moves.some(({ kind }) => kind === 'gap'));
  });

  await t.test('with the leader killed, writes go on', async (t) => {
    const leader = etcd.members[await leaderOf(etcd)];
    await leader?.kill();
    const started = performance.now();
    t.ok((await write('k', 'after the leader died')).done);
    const tookMs = performance.now() - started;
    t.ok(tookMs < 2_000, `the first write took ${Math.round(tookMs)} ms`);
    t.equal((await writer.get('k'))?.value, 'after the leader died');
    leader?.restart();
  });

  await t.test('with every member frozen, a call ends within its budget', async (t) => {
    for (const member of etcd.members) member.pause();
    const started = performance.now();
    await t.rejects(writer.get('k', { budgetMs: 600 }), { code: 'US_STORE_UNREACHABLE' });
    t.ok(performance.now() - started < 2_000);
    for (const member of etcd.members) member.resume();
    t.equal((await writer.get('k', { budgetMs: 10_000 }))?.value, 'after the leader died');
  });

  await t.test('office is lost by the own clock before another can have it', async (t) => {
    const holder = open(t, etcd, '/understudy/office/').store;
    const rival = open(t, etcd, '/understudy/office/').store;
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    let lostMs: number | undefined;
    const lost = new Promise<void>((resolve) => {
      const elected = new Promise<void>((inOffice) => {
        const listener = {
          elected: () => inOffice(),
          lost: () => {
            lostMs = performance.now();
            resolve();
          },
        };
        holder.campaign('leader', 'holder', listener, stop.signal);
      });
      // The holder cannot renew: all members stand still longer than its lease.
      void elected.then(() => {
        for (const member of etcd.members) member.pause();
      });
    });
    await lost;
    const elected = new Promise<number>((resolve) => {
      const listener = { elected: () => resolve(performance.now()), lost: () => {} };
      rival.campaign('leader', 'rival', listener, stop.signal);
    });
    await holder.stop();
    for (const member of etcd.members) member.resume();
    t.ok((await elected) > (lostMs ?? Number.POSITIVE_INFINITY));
  });

  await t.test('with every member killed, a call ends in time; restarted, it works', async (t) => {
    await Promise.all(etcd.members.map((member) => member.kill()));
    await t.rejects(writer.get('k', { budgetMs: 500 }), { code: 'US_STORE_UNREACHABLE' });
    for (const member of etcd.members) member.restart();
    t.equal((await writer.get('k', { budgetMs: 20_000 }))?.value, 'after the leader died');
  });
});
