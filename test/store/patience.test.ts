import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { test } from 'tap';
import type { Member, MemberStream } from '../../src/store/etcd/member.js';
import { Members } from '../../src/store/etcd/members.js';
import type { WatchRequest, WatchResponse } from '../../src/store/etcd/protocol.js';
import { WatchSession } from '../../src/store/etcd/watch-session.js';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { leastPatience, patienceFor } from '../../src/store/patience.js';
import { VirtualTimers } from './virtual-timers.js';

/** What was measured, and what every store had before leases counted. */
const measured = {
  tryMs: 100,
  longestTryMs: 800,
  budgetMs: 3_000,
  probeEveryMs: 500,
  lookEveryMs: 250,
  silenceMs: 1_000,
  keepaliveMs: 1_000,
  office: {
    ttlSeconds: 2,
    renewEveryMs: 300,
    marginMs: 500,
    standBudgetMs: 1_000,
    revokeBudgetMs: 500,
  },
};

/** Each value with the way to it, `office.marginMs`. */
const flat = (leaseMs: number | undefined) => {
  const { office, ...rest } = patienceFor(leaseMs);
  return new Map<string, number>([...Object.entries(rest), ...Object.entries(office)]);
};

test('without a lease, with the default one and up to a second nothing is but as measured', async (t) => {
  for (const leaseMs of [undefined, 1, 50, 200, 1_000]) t.same(patienceFor(leaseMs), measured);
  t.same(leastPatience, measured);
});

test('above it all grows in proportion, and not beyond a lease of ten seconds', async (t) => {
  const four = patienceFor(4_000);
  t.match(four, { tryMs: 400, longestTryMs: 3_200, silenceMs: 4_000, keepaliveMs: 4_000 });
  t.match(four.office, { ttlSeconds: 8, renewEveryMs: 1_200, marginMs: 2_000 });
  t.same(patienceFor(86_400_000), patienceFor(10_000));
  t.equal(patienceFor(10_000).longestTryMs, 8_000);
});

test('a longer lease never makes it less patient, and an office ends before its lease', async (t) => {
  const leases = fc.integer({ min: 1, max: 86_400_000 });
  fc.assert(
    fc.property(leases, leases, (one, other) => {
      const [shorter, longer] = [flat(Math.min(one, other)), flat(Math.max(one, other))];
      const { ttlSeconds, marginMs, renewEveryMs } = patienceFor(one).office;
      return (
        [...longer].every(([name, value]) => value >= (shorter.get(name) ?? 0)) &&
        // Two renewals that fail cost no office.
        3 * renewEveryMs + marginMs < ttlSeconds * 1_000
      );
    }),
  );
  t.pass();
});

/** A member whose stream says nothing and whose reads are answered after a time. */
class SlowMember implements Member {
  readonly endpoint = 'http://e1:2379';
  readonly keepalives: number[] = [];
  readonly #timers: VirtualTimers;
  readonly #answerMs: number;
  #tell: (response: WatchResponse) => void = () => {};

  constructor(timers: VirtualTimers, answerMs: number) {
    this.#timers = timers;
    this.#answerMs = answerMs;
  }

  reconnect(keepaliveMs: number): void {
    this.keepalives.push(keepaliveMs);
  }

  call(_: unknown, __: unknown, deadlineMs: number): Promise<never> {
    const header = { cluster_id: '1', revision: '7', member_id: '1', raft_term: '1' };
    return this.exchange({ header, kvs: [] }, undefined, deadlineMs);
  }

  exchange(answer: unknown, _: unknown, deadlineMs: number): Promise<never> {
    return new Promise((resolve, reject) => {
      this.#timers.after(this.#answerMs, () => resolve(answer as never));
      this.#timers.after(deadlineMs, () =>
        reject(Object.assign(new Error('late'), { code: status.DEADLINE_EXCEEDED })),
      );
    });
  }

  open(): MemberStream<never, never> {
    const stream = {
      on: (event: string, listener: (response: WatchResponse) => void) => {
        if (event === 'data') this.#tell = listener;
      },
      write: (_: WatchRequest) => {
        const answer = { events: [], canceled: false } as unknown as WatchResponse;
        this.#timers.after(this.#answerMs, () => this.#tell(answer));
      },
      cancel: () => {},
    };
    return stream as unknown as MemberStream<never, never>;
  }

  close(): void {}
}

test('a member that answers after a second and a half is asked in vain, but for a long lease', async (t) => {
  for (const [leaseMs, works] of [
    [200, false],
    [1_000, false],
    [4_000, true],
  ] as const) {
    const timers = new VirtualTimers();
    const member = new SlowMember(timers, 1_500);
    const members = new Members([member.endpoint], timers, () => member);
    members.suit(patienceFor(leaseMs));
    const asked = members
      .call({ action: 'cannot read', object: 'x' }, {}, async (_, deadlineMs) => {
        await member.exchange('answer', undefined, deadlineMs);
        return true;
      })
      .catch(() => false);
    await timers.runMs(30_000);
    t.equal(await asked, works, `with a lease of ${leaseMs} ms`);
  }
});

test('a watch of such a member moves on, but for a long lease, also one that is learnt of later', async (t) => {
  const moves = async (first: number, then: number) => {
    const timers = new VirtualTimers();
    const member = new SlowMember(timers, 1_500);
    let leaseMs = first;
    const reasons: string[] = [];
    const session = new WatchSession(
      {
        member,
        timers,
        key: Buffer.from('a'),
        rangeEnd: Buffer.from('b'),
        afterRevision: 7,
        clusterId: '1',
        patience: () => patienceFor(leaseMs),
        toChange: () => ({ kind: 'delete', key: 'a', revision: 1 }),
        changes: () => {},
      },
      ({ reason }) => reasons.push(reason),
    );
    await timers.runMs(900);
    leaseMs = then;
    await timers.runMs(20_000);
    session.close();
    return reasons;
  };
  t.same(await moves(200, 200), ['silent for 1000 ms']);
  t.same(await moves(4_000, 4_000), []);
  t.same(await moves(200, 4_000), []);
});

test('connections are made anew where their pings change, and stay where nothing does', async (t) => {
  const timers = new VirtualTimers();
  const member = new SlowMember(timers, 1);
  const members = new Members([member.endpoint], timers, () => member);
  for (const leaseMs of [200, 1_000, 4_000, 4_000]) members.suit(patienceFor(leaseMs));
  t.same(member.keepalives, [4_000]);
});

test('an office outlasts a store that stands still for as long as the lease says', async (t) => {
  const lostIn = async (leases: readonly number[], awayMs: number) => {
    const timers = new VirtualTimers();
    const backend = new MemoryBackend({ timers });
    const store = new MemoryStore(backend, { identity: 'h1' });
    const stop = new AbortController();
    const [first = 200, ...later] = leases;
    store.suit(first);
    const told: string[] = [];
    const listener = { elected: () => told.push('elected'), lost: () => told.push('lost') };
    store.campaign('leader', 'h1', listener, stop.signal);
    await timers.runMs(1_000);
    for (const leaseMs of later) store.suit(leaseMs);
    await timers.runMs(1_000);
    backend.cut('h1');
    await timers.runMs(awayMs);
    const heard = [...told];
    stop.abort();
    return heard;
  };
  t.same(await lostIn([200], 3_000), ['elected', 'lost']);
  t.same(await lostIn([4_000], 3_000), ['elected']);
  t.same(await lostIn([4_000], 9_000), ['elected', 'lost'], 'but no longer');
  t.same(await lostIn([200, 4_000], 100), ['elected'], 'one that is held goes on as it began');
  t.same(await lostIn([4_000, 200], 3_000), ['elected'], 'to its end');
});
