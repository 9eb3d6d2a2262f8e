import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { EtcdMember } from '../../src/store/etcd/member.js';
import { methods } from '../../src/store/etcd/protocol.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { type RunningEtcd, startEtcd, waitForEtcd } from '../../src/store/etcd-process.js';
import { storeCompliance } from './compliance.js';

/** Ports of the loopback that are free now. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function start(t: Test, members: number): Promise<RunningEtcd> {
  const directory = mkdtempSync(join('/dev/shm', 'understudy-etcd-'));
  const ports = await freePorts(members * 2);
  const etcd = startEtcd({
    directory,
    members: Array.from({ length: members }, (_, index) => ({
      name: `m${index}`,
      address: '127.0.0.1',
      clientPort: ports[index * 2] ?? 0,
      peerPort: ports[index * 2 + 1] ?? 0,
    })),
  });
  t.teardown(async () => {
    await etcd.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  await waitForEtcd(etcd.endpoints, 20_000);
  return etcd;
}

function open(t: Test, etcd: Pick<RunningEtcd, 'endpoints'>, prefix: string): EtcdStore {
  const store = new EtcdStore({ endpoints: etcd.endpoints, prefix });
  t.teardown(() => store.stop());
  return store;
}

/** The member that leads, by asking each. */
async function leaderOf(etcd: RunningEtcd): Promise<number> {
  for (const [index, endpoint] of etcd.endpoints.entries()) {
    const member = new EtcdMember(endpoint);
    const { leader, header } = await member.call(methods.status, {}, 2_000);
    member.close();
    if (leader === header.member_id) return index;
  }
  throw new Error('no member leads');
}

t.test('the interface, on one member', async (t) => {
  const etcd = await start(t, 1);
  let prefixes = 0;
  storeCompliance(t, async (inner) => {
    const prefix = `/understudy/test${prefixes++}/`;
    return () => open(inner, etcd, prefix);
  });
});

t.test('with no member there, start says so within its budget', async (t) => {
  const [port = 0] = await freePorts(1);
  const store = open(t, { endpoints: [`http://127.0.0.1:${port}`] }, '/understudy/none/');
  await t.rejects(store.start(new AbortController().signal), { code: 'US_STORE_UNREACHABLE' });
});

t.test('faults of three members', async (t) => {
  const etcd = await start(t, 3);
  const writer = open(t, etcd, '/understudy/faults/');
  const write = (key: string, value: string) =>
    writer.transact({ compare: [], write: [{ kind: 'put', key, value }] }, { budgetMs: 10_000 });

  await t.test('a frozen member holds up neither watch nor office', async (t) => {
    const reader = open(t, etcd, '/understudy/faults/');
    const stop = new AbortController();
    t.teardown(() => stop.abort());
    const seen: string[] = [];
    let look: () => void = () => undefined;
    const until = (value: string) =>
      new Promise<void>((resolve) => {
        look = () => {
          if (seen.includes(value)) resolve();
        };
        look();
      });
    reader.watch(
      'w/',
      {
        snapshot: ({ entries }) => {
          seen.push('snapshot', ...entries.map(({ value }) => value));
          look();
        },
        changes: (changes) => {
          for (const change of changes) if (change.kind === 'put') seen.push(change.entry.value);
          look();
        },
      },
      stop.signal,
    );
    await until('snapshot');
    let lost = false;
    await new Promise<void>((resolve) => {
      reader.campaign(
        'leader',
        'reader',
        {
          elected: () => resolve(),
          lost: () => {
            lost = true;
          },
        },
        stop.signal,
      );
    });
    // The watch and the lease sit on the member that answered last, which is the first one.
    const [frozen] = etcd.members;
    frozen?.pause();
    t.teardown(() => frozen?.resume());
    await write('w/a', 'while frozen');
    await until('while frozen');
    t.ok(seen.includes('while frozen'), 'the watch moved to another member');
    await write('w/a', 'and on');
    await until('and on');
    t.equal(await writer.holder('leader', { budgetMs: 10_000 }), 'reader');
    t.equal(lost, false, 'office was kept by renewing over another member');
    frozen?.resume();
  });

  await t.test('with the leader killed, writes go on', async (t) => {
    const leader = etcd.members[await leaderOf(etcd)];
    await leader?.kill();
    const started = performance.now();
    t.ok((await write('k', 'after the leader died')).done);
    t.comment(`the first write took ${Math.round(performance.now() - started)} ms`);
    t.equal((await writer.get('k'))?.value, 'after the leader died');
    leader?.restart();
  });

  await t.test('with every member frozen, a call ends within its budget', async (t) => {
    for (const member of etcd.members) member.pause();
    const started = performance.now();
    await t.rejects(writer.get('k', { budgetMs: 600 }), { code: 'US_STORE_UNREACHABLE' });
    t.ok(performance.now() - started < 3_000);
    for (const member of etcd.members) member.resume();
    t.equal((await writer.get('k', { budgetMs: 10_000 }))?.value, 'after the leader died');
  });

  await t.test('office is lost by the own clock before another can have it', async (t) => {
    const holder = open(t, etcd, '/understudy/office/');
    const rival = open(t, etcd, '/understudy/office/');
    const stops = [new AbortController(), new AbortController()];
    t.teardown(() => {
      for (const stop of stops) stop.abort();
    });
    let lostMs: number | undefined;
    await new Promise<void>((resolve) => {
      holder.campaign(
        'leader',
        'holder',
        {
          elected: () => resolve(),
          lost: () => {
            lostMs ??= performance.now();
          },
        },
        stops[0]?.signal ?? AbortSignal.abort(),
      );
    });
    const elected = new Promise<number>((resolve) => {
      rival.campaign(
        'leader',
        'rival',
        { elected: () => resolve(performance.now()), lost: () => undefined },
        stops[1]?.signal ?? AbortSignal.abort(),
      );
    });
    // The holder cannot renew: all members stand still longer than its lease.
    for (const member of etcd.members) member.pause();
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (lostMs === undefined) return;
        clearInterval(timer);
        resolve();
      }, 5);
    });
    stops[0]?.abort();
    for (const member of etcd.members) member.resume();
    const electedMs = await elected;
    t.ok((lostMs ?? Number.POSITIVE_INFINITY) < electedMs, 'lost before the rival was elected');
  });
});
