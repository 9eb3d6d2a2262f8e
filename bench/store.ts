import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ClusterWatch } from '../src/agent/cluster-watch.js';
import { commitTransaction } from '../src/agent/transactions.js';
import { decideFailovers, initialFailoverState } from '../src/control/failover.js';
import { reportKey } from '../src/control/keys.js';
import { within } from '../src/deadline.js';
import { EtcdStore } from '../src/store/etcd.js';
import { type RunningEtcd, startEtcd, waitForEtcd } from '../src/store/etcd-process.js';
import type { Entry, Operation, Store, TransactionResult } from '../src/store/types.js';
import { freePorts } from '../test/store/etcd-cluster.js';
import { configOfSize, entriesOf, reportOn, votesAgainst } from './cluster.js';
import { median } from './measure.js';
import type { Seen } from './store-hosts.js';

/** What a cluster of one size asks of its store, and what it waits for it. Times in ms. */
export interface StoreCosts {
  /** Until all hosts are connected and know everything, sixteen at a time. */
  readonly joinedMs: number;
  /** One host's report: until it is written, until half of the hosts have it, and all. */
  readonly writtenMs: number;
  readonly halfMs: number;
  readonly allMs: number;
  /** Processor time of the store’s three members for that one write. */
  readonly memberCpuMs: number;
  /** The vote that makes the majority against a host → its last role committed → every host knows. */
  readonly committedMs: number;
  readonly knownMs: number;
  readonly biggestMemberBytes: number;
  readonly databaseBytes: number;
}

const prefix = '/understudy/bench/';
const processes = 4;
const writes = 20;
/** Hosts h4 and on, one after the other; the first three are the controllers. */
const failures = 5;
const patienceMs = 400_000;
/** etcd takes at most 128 operations at once. */
const batch = 100;
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const program = new URL('./store-hosts.js', import.meta.url).pathname;

/** Real etcd of three members and as many connected hosts as the cluster has, all on this machine. */
export async function measureStore(hosts: number): Promise<StoreCosts> {
  const directory = mkdtempSync(join('/dev/shm', `usbench-${process.pid}-etcd-`));
  const ports = await freePorts(6);
  const etcd = startEtcd({
    directory,
    members: [0, 1, 2].map((at) => ({
      name: `m${at}`,
      address: '127.0.0.1',
      clientPort: ports[2 * at] ?? 0,
      peerPort: ports[2 * at + 1] ?? 0,
    })),
  });
  const children: ChildProcess[] = [];
  const stop = new AbortController();
  const store = new EtcdStore({ endpoints: etcd.endpoints, prefix });
  try {
    await waitForEtcd(etcd.endpoints, 20_000);
    await store.start(stop.signal);
    await fill(store, entriesOf(configOfSize(hosts)));
    const startedMs = nowMs();
    children.push(...startHosts(etcd, hosts));
    await Promise.all(children.map((child) => told(child, (message) => message === 'ready')));
    const joinedMs = nowMs() - startedMs;
    return {
      joinedMs,
      ...(await news(store, etcd, children)),
      ...(await deaths(store, children)),
      ...sizes(etcd, directory),
    };
  } finally {
    stop.abort();
    await store.stop();
    for (const child of children) child.kill('SIGKILL');
    await etcd.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

function startHosts(etcd: RunningEtcd, hosts: number): readonly ChildProcess[] {
  const count = Math.min(processes, hosts);
  return Array.from({ length: count }, (_, at) => {
    const mine = Math.floor((hosts * (at + 1)) / count) - Math.floor((hosts * at) / count);
    return fork(program, [etcd.endpoints.join(','), prefix, String(mine)]);
  });
}

async function told<T>(child: ChildProcess, wanted: (message: T) => boolean): Promise<T> {
  const signal = within(patienceMs);
  for (;;) {
    const [message] = (await once(child, 'message', { signal })) as [T];
    if (wanted(message)) return message;
  }
}

/** When each host had a revision. */
async function seen(children: readonly ChildProcess[], revision: number): Promise<number[]> {
  const answers = children.map(async (child) => {
    const answer = told<Seen>(child, (message) => message.revision === revision);
    child.send(revision);
    return (await answer).atMs;
  });
  return (await Promise.all(answers)).flat();
}

const put = (key: string, value: string): Operation => ({ kind: 'put', key, value });

async function fill(store: Store, entries: readonly Pick<Entry, 'key' | 'value'>[]): Promise<void> {
  for (let at = 0; at < entries.length; at += batch) {
    const write = entries.slice(at, at + batch).map(({ key, value }) => put(key, value));
    await store.transact({ compare: [], write });
  }
}

async function news(store: Store, etcd: RunningEtcd, children: readonly ChildProcess[]) {
  const times: { writtenMs: number; halfMs: number; allMs: number; memberCpuMs: number }[] = [];
  for (let at = 0; at < writes; at += 1) {
    const cpuBeforeMs = cpuOf(etcd);
    const startedMs = nowMs();
    const value = JSON.stringify(reportOn(['p4'], String(at)));
    const { revision } = await store.transact({
      compare: [],
      write: [put(reportKey('h4'), value)],
    });
    const writtenMs = nowMs() - startedMs;
    const atMs = await seen(children, revision);
    times.push({
      writtenMs,
      halfMs: median(atMs) - startedMs,
      allMs: Math.max(...atMs) - startedMs,
      memberCpuMs: cpuOf(etcd) - cpuBeforeMs,
    });
  }
  const of = (key: keyof (typeof times)[number]) => median(times.map((one) => one[key]));
  const mean = times.reduce((sum, { memberCpuMs }) => sum + memberCpuMs, 0) / times.length;
  return {
    writtenMs: of('writtenMs'),
    halfMs: of('halfMs'),
    allMs: of('allMs'),
    memberCpuMs: mean,
  };
}

/** Hosts are voted out, and the leading controller commits their roles elsewhere, by the production core. */
async function deaths(store: Store, children: readonly ChildProcess[]) {
  const stop = new AbortController();
  const watch = new ClusterWatch(store);
  watch.start(stop.signal);
  await watch.until(() => watch.known, within(patienceMs));
  const times: { readonly committedMs: number; readonly knownMs: number }[] = [];
  for (let at = 0; at < failures; at += 1) times.push(await death(store, watch, children, at + 4));
  stop.abort();
  return {
    committedMs: median(times.map(({ committedMs }) => committedMs)),
    knownMs: median(times.map(({ knownMs }) => knownMs)),
  };
}

async function death(
  store: Store,
  watch: ClusterWatch,
  children: readonly ChildProcess[],
  number: number,
) {
  const host = `h${number}`;
  const [first, second] = votesAgainst([host], 0).map(({ key, value }) => put(key, value));
  if (first === undefined || second === undefined) throw new Error('two votes are a majority');
  await store.transact({ compare: [], write: [first] });
  const startedMs = nowMs();
  await store.transact({ compare: [], write: [second] });
  const now = { me: 'h2', leader: true, nowMs: 1_000, unixMs: 0, bootId: 'boot' };
  const liveness = { lapsed: new Set([host]) };
  const decide = () =>
    decideFailovers(initialFailoverState, watch.view, { ...now, liveness }).verdicts;
  await watch.until(() => decide().length > 0, within(patienceMs));
  const commits = decide().map((verdict) => {
    if (verdict.kind !== 'fail-over') throw new Error(`${host} stays: ${verdict.reason}`);
    return commitTransaction(verdict.commit);
  });
  const results = await Promise.all(commits.map((commit) => store.transact(commit)));
  // One that was late may have been carried out at its first try: then the store shows our own write.
  const own = ({ done, current }: TransactionResult, at: number) =>
    done ||
    (commits[at]?.write.some(
      (write) =>
        write.kind === 'put' &&
        current.some(({ key, value }) => key === write.key && value === write.value),
    ) ??
      false);
  if (!results.every(own)) throw new Error(`${host} stays: a commit was refused`);
  const committedMs = nowMs() - startedMs;
  const atMs = await seen(children, Math.max(...results.map(({ revision }) => revision)));
  for (const [at, { revision }] of results.entries())
    watch.learn(commits[at]?.write ?? [], revision);
  return { committedMs, knownMs: Math.max(...atMs) - startedMs };
}

function sizes(etcd: RunningEtcd, directory: string) {
  const memory = etcd.members.map(({ pid }) => {
    const kib = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m)?.[1];
    return Number(kib) * 1_024;
  });
  const database = join(directory, 'm0', 'member', 'snap', 'db');
  return { biggestMemberBytes: Math.max(...memory), databaseBytes: statSync(database).size };
}

/** User and system time of all members (proc_pid_stat(5)), in ms; the kernel counts in 10 ms here. */
function cpuOf(etcd: RunningEtcd): number {
  const ticks = etcd.members.map(({ pid }) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, one) => sum + one, 0) * 10;
}
