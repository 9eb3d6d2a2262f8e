import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import { EtcdMember } from '../../src/store/etcd/member.js';
import { methods } from '../../src/store/etcd/protocol.js';
import { EtcdStore } from '../../src/store/etcd.js';
import {
  type MemberSpec,
  type RunningEtcd,
  type RunningMember,
  startEtcd,
  waitForEtcd,
} from '../../src/store/etcd-process.js';

/** Ports of the loopback that are free now. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const open = () =>
    new Promise<ReturnType<typeof createServer>>((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
    });
  const servers = await Promise.all(Array.from({ length: count }, open));
  const ports = servers.map((server) => {
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Real members on the loopback; everything of them goes at the test's end. */
export async function startOnLoopback(t: Test, members: number): Promise<RunningEtcd> {
  const ports = await freePorts(members * 2);
  return startMembers(
    t,
    Array.from({ length: members }, (_, index) => ({
      name: `m${index}`,
      address: '127.0.0.1',
      clientPort: ports[index * 2] ?? 0,
      peerPort: ports[index * 2 + 1] ?? 0,
    })),
  );
}

export async function startMembers(t: Test, members: readonly MemberSpec[]): Promise<RunningEtcd> {
  const directory = mkdtempSync(join('/dev/shm', `ustest-${process.pid}-etcd-`));
  const etcd = startEtcd({ directory, members });
  t.teardown(async () => {
    await etcd.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  await waitForEtcd(etcd.endpoints, 20_000);
  return etcd;
}

/** A store, and what its watches say about the members they left. */
export function open(t: Test, etcd: Pick<RunningEtcd, 'endpoints'>, prefix: string) {
  const moves: { readonly endpoint: string; readonly kind: string; readonly reason: string }[] = [];
  const store = new EtcdStore({
    endpoints: etcd.endpoints,
    prefix,
    log: {
      debug: () => {},
      info: (fields) => moves.push(fields as (typeof moves)[number]),
      warn: () => {},
    },
  });
  t.teardown(() => store.stop());
  return { store, moves };
}

/** The member that leads, as most of the members see it. */
export async function leaderOf(etcd: RunningEtcd): Promise<number> {
  for (const [index, endpoint] of etcd.endpoints.entries()) {
    const member = new EtcdMember(endpoint);
    const status = await member.call(methods.status, {}, 2_000).catch(() => undefined);
    member.close();
    if (status !== undefined && status.leader === status.header.member_id) return index;
  }
  throw new Error('no member leads');
}

/**
 * The member that serves the one watch there is, by etcd's own count: the first one asked, unless it was
 * too slow to answer.
 */
export async function watchedMember(etcd: RunningEtcd): Promise<RunningMember> {
  for (;;) {
    const counts = await Promise.all(etcd.members.map(({ endpoint }) => watchersOf(endpoint)));
    const total = counts.reduce((sum, count) => sum + count, 0);
    const member = etcd.members[counts.indexOf(1)];
    if (total === 1 && member !== undefined) return member;
  }
}

async function watchersOf(endpoint: string): Promise<number> {
  const metrics = await (await fetch(`${endpoint}/metrics`)).text();
  return Number(/^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec(metrics)?.[1]);
}

/** Forgets all revisions before `revision`. */
export async function compact(endpoint: string, revision: number): Promise<void> {
  const member = new EtcdMember(endpoint);
  await member.call(methods.compact, { revision: String(revision) }, 2_000);
  member.close();
}

/** Follows `w/` and lets a test wait for a value. */
export class Follower {
  readonly values: string[] = [];
  snapshots = 0;
  readonly #waiters = new Set<() => void>();

  constructor(store: EtcdStore, signal: AbortSignal) {
    store.watch(
      'w/',
      {
        snapshot: ({ entries }) => {
          this.snapshots++;
          this.#add(entries.map(({ value }) => value));
        },
        changes: (changes) =>
          this.#add(changes.flatMap((change) => (change.kind === 'put' ? change.entry.value : []))),
      },
      signal,
    );
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }

  #add(values: readonly string[]): void {
    this.values.push(...values);
    for (const waiter of [...this.#waiters]) waiter();
  }
}

export const ip = (...words: string[]) => execFileSync('ip', words);
