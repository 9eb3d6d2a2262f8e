import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import type { Timeline } from '../src/control/timeline.js';
import { etcdLeader } from '../src/lab/etcd.js';
import { collect } from '../src/lab/shell.js';
import { HttpWatch, type Nodes, PingWatch } from '../src/observe/observers.js';
import { addresses, type Bench, type Kind } from './failover-lab.js';
import { pacemaker } from './pacemaker.js';
import { nodesOf, PeerPair } from './peer.js';
import { keepalived, type PeerKind, ucarp } from './peers.js';

/** What a client saw of one takeover. */
export interface Round {
  readonly series: Series;
  readonly gapMs: number;
  /** Longest time without a good answer to a read of a file on the LUN. */
  readonly httpMs?: number;
  /** Duration of each step; of detect, its end counted from the last acknowledged heartbeat. */
  readonly stepsMs?: Readonly<Record<string, number>>;
}

export const everySeries = [
  'disk',
  'plain',
  'keepalived',
  'etcd leader too',
  'leader too',
  'move disk',
  'move plain',
  'keepalived 1 s',
  'ucarp',
  'pacemaker tuned',
  'pacemaker disk',
  'pacemaker',
] as const;
export type Series = (typeof everySeries)[number];

/** Other products: whom a series is about. */
export function peerOf(series: Series, advertMs: number): PeerKind | undefined {
  switch (series) {
    case 'keepalived':
      return keepalived(advertMs, 'k', 200);
    case 'keepalived 1 s':
      return keepalived(1_000, 's', 203);
    case 'ucarp':
      return ucarp('u', 206);
    case 'pacemaker tuned':
      return pacemaker({ tokenMs: 300 }, 't', 209);
    case 'pacemaker disk':
      return pacemaker({ tokenMs: 300, volume: true }, 'd', 215);
    case 'pacemaker':
      return pacemaker({}, 'p', 212);
    default:
      return undefined;
  }
}

/** Of those series that are about another product, each on hosts of its own. */
export type Peers = ReadonlyMap<Series, PeerPair>;

const answerMs = 20_000;
const readyMs = 30_000;
const lookMs = 50;
const program = new URL('../../bin/understudy', import.meta.url).pathname;

export async function playRound(bench: Bench, peers: Peers, series: Series) {
  const peer = peers.get(series);
  if (peer !== undefined) return cutPeer(bench, peer, series);
  switch (series) {
    case 'disk':
    case 'plain':
      return cut(bench, series, series, []);
    case 'etcd leader too':
      return cut(bench, series, 'disk', [await etcdLeader(bench.lab)]);
    case 'leader too':
      return cut(bench, series, 'disk', [(await bench.stage.status()).leader ?? '']);
    case 'move disk':
      return move(bench, series, 'disk');
    case 'move plain':
      return move(bench, series, 'plain');
    default:
      throw new Error(`${series} has no hosts`);
  }
}

/** A power cut of the personality's host, and of other nodes in the same instant. */
async function cut(
  { stage, lab }: Bench,
  series: Series,
  kind: Kind,
  others: readonly string[],
): Promise<Round> {
  await leaveTheLeader({ stage, lab }, kind);
  const { host, epoch } = await whereIs(stage, kind);
  const watches = await watching(stage.lab, kind);
  await pause(Math.random() * 50);
  const cutMs = Date.now();
  await lab.kill(host, ...others);
  await watches.answered();
  const record = await stage.failover(kind, epoch + 1, answerMs);
  const seen = await watches.end(cutMs);
  await Promise.all([host, ...others].map((node) => lab.start(node)));
  await untilReady({ stage, lab });
  return { series, ...seen, stepsMs: stepsOf(record) };
}

async function cutPeer({ lab }: Bench, pair: PeerPair, series: Series): Promise<Round> {
  const ping = new PingWatch(nodesOf(lab), PeerPair.client, pair.address);
  await ping.answerAfter(Date.now(), answerMs);
  const host = await pair.holder();
  await pause(Math.random() * 50);
  const cutMs = Date.now();
  await host.cut();
  await ping.answerAfter(Date.now(), answerMs);
  const gapMs = ping.longestGapMs(cutMs) ?? Number.NaN;
  await ping.stop();
  await host.powerOn();
  await pair.settled();
  return { series, gapMs };
}

async function move({ stage, lab }: Bench, series: Series, kind: Kind): Promise<Round> {
  const { epoch } = await whereIs(stage, kind);
  const watches = await watching(stage.lab, kind);
  const sinceMs = Date.now();
  await moved(lab, kind);
  const record = await stage.failover(kind, epoch + 1, answerMs);
  await watches.answered();
  const seen = await watches.end(sinceMs);
  await untilReady({ stage, lab });
  return { series, ...seen, stepsMs: stepsOf(record) };
}

async function moved(lab: Bench['lab'], kind: Kind): Promise<void> {
  const child = spawn(process.execPath, [program, 'move', kind, '--lab', lab.name]);
  const { code, stderr } = await collect(child);
  if (code !== 0) throw new Error(`understudy move ${kind}: ${stderr}`);
}

/** Where controllers carry something: the leader's loss has a series of its own. */
async function leaveTheLeader({ stage, lab }: Pick<Bench, 'stage' | 'lab'>, kind: Kind) {
  const { host, epoch } = await whereIs(stage, kind);
  if (host !== (await stage.status()).leader) return;
  await moved(lab, kind);
  await stage.failover(kind, epoch + 1, answerMs);
  await untilReady({ stage, lab });
}

async function whereIs(
  stage: Bench['stage'],
  kind: Kind,
): Promise<{ host: string; epoch: number }> {
  const { personalities } = await stage.status();
  const { host, epoch } = personalities.find(({ name }) => name === kind) ?? {
    host: null,
    epoch: 0,
  };
  if (host === null) throw new Error(`${kind} has no host`);
  return { host, epoch };
}

/** A ping every 2 ms, and where there is a disk a read of a file on it every 10 ms. */
async function watching(nodes: Nodes, kind: Kind) {
  const ping = new PingWatch(nodes, 'client', addresses[kind]);
  const http =
    kind === 'disk'
      ? new HttpWatch(nodes, 'client', `http://${addresses.disk}/name`, 'disk')
      : undefined;
  const answered = async () => {
    const nowMs = Date.now();
    await ping.answerAfter(nowMs, answerMs);
    await http?.answerAfter(nowMs, answerMs);
  };
  await answered();
  return {
    answered,
    end: async (sinceMs: number) => {
      await ping.stop();
      await http?.stop();
      const httpMs = http?.longestGapMs(sinceMs);
      const gapMs = ping.longestGapMs(sinceMs) ?? Number.NaN;
      return httpMs === undefined ? { gapMs } : { gapMs, httpMs };
    },
  };
}

function stepsOf({ steps }: Timeline): Readonly<Record<string, number>> {
  return Object.fromEntries(
    steps.map(({ name, startMs, endMs }) => [
      name,
      (endMs ?? Number.NaN) - (name === 'detect' ? 0 : (startMs ?? Number.NaN)),
    ]),
  );
}

/** Every host is up and grants what it is to grant, and the spare has made ready what it can. */
export async function untilReady({ stage, lab }: Pick<Bench, 'stage' | 'lab'>): Promise<void> {
  const status = await stage.until(
    'every host is up and every personality runs',
    ({ hosts, personalities }) =>
      hosts.every((one) => one.state === 'up' && one.granting === one.controller) &&
      personalities.every(({ phase }) => phase === 'running'),
    readyMs,
  );
  const spare = status.hosts.find(
    ({ pool, personalities }) => pool !== null && personalities.length === 0,
  );
  if (spare === undefined) throw new Error('there is no spare');
  const prepared = Object.keys(addresses).map((kind) => `-e /run/netns/us-${kind}`);
  const look = ['sh', '-c', `[ ${prepared.join(' ] && [ ')} ]`];
  for (const endMs = Date.now() + readyMs; Date.now() < endMs; await pause(lookMs)) {
    const { code } = await lab.exec(lab.command(spare.name, look));
    if (code === 0) break;
  }
  // What the start of a host costs this machine is over by then.
  await pause(500);
}
