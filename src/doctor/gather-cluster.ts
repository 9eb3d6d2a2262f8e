import { readdirSync, readFileSync } from 'node:fs';
import type { ClusterConfig } from '../config/types.js';
import { statusOf } from '../control/status.js';
import { configOf, type View, ViewKeeper } from '../control/view.js';
import { within } from '../deadline.js';
import { messageOf } from '../errors.js';
import { refusesTcp } from '../ffi/tcp-probe.js';
import { ipBytes } from '../network/addresses.js';
import { askStatus } from '../pulse/status-client.js';
import { splitPortal } from '../storage/portal.js';
import { etcdHealth } from '../store/etcd-health.js';
import type { StoreSettings } from '../store/settings.js';
import type { Store } from '../store/types.js';
import { ownVersion } from '../version.js';
import type { ClusterFacts, DaemonFacts, PortalFacts, PulseFacts } from './facts.js';

/** A host of the cluster that can be looked into from here. */
export interface HostPlace {
  readonly host: string;
  readonly pulseSocket: string;
  /** Its /proc. */
  readonly proc: string;
  /** Its network namespace. */
  readonly network: string;
}

const memberMs = 1_000;
const storeMs = 3_000;
const pulseMs = 1_000;
const portalMs = 1_000;
const transactions = 9;
const leaseLooks = 20;
/** Out of step with the default heartbeat, so that every moment of its period is seen. */
const leasePauseMs = 37;

/** Asks everybody that can be asked, side by side, each for a bounded time. Writes nothing. */
export async function gatherCluster(
  cluster: string,
  settings: StoreSettings,
  store: Store,
  places: readonly HostPlace[],
  signal: AbortSignal,
): Promise<ClusterFacts> {
  const [members, stored, daemons] = await Promise.all([
    etcdHealth(settings, memberMs),
    readStore(store, signal),
    Promise.all(places.map((place) => lookInto(place, signal))),
  ]);
  const config = stored.view === undefined ? undefined : configOf(stored.view);
  return {
    cluster,
    members,
    ...stored,
    status:
      stored.view === undefined || config === undefined
        ? undefined
        : statusOf(stored.view, config, stored.leader, () => new Map()),
    daemons,
    portals: config === undefined ? [] : await askPortals(config, places),
    version: ownVersion(),
  };
}

async function readStore(
  store: Store,
  signal: AbortSignal,
): Promise<Pick<ClusterFacts, 'storeTrouble' | 'view' | 'leader' | 'transactionsMs'>> {
  const options = { budgetMs: storeMs, signal };
  try {
    await store.start(within(storeMs, signal));
    const { entries } = await store.list('', options);
    const keeper = new ViewKeeper();
    keeper.reset(entries);
    const leader = await store.holder('leader', options);
    return {
      storeTrouble: undefined,
      view: keeper.view,
      leader,
      transactionsMs: await time(store, keeper.view),
    };
  } catch (thrown) {
    signal.throwIfAborted();
    return {
      storeTrouble: messageOf(thrown),
      view: undefined,
      leader: undefined,
      transactionsMs: [],
    };
  }
}

/** Transactions that compare and write nothing go the way of a commit, through a majority, but for the disk. */
async function time(store: Store, view: View): Promise<readonly number[]> {
  const taken: number[] = [];
  for (let round = 0; round < transactions; round++) {
    const startedMs = performance.now();
    // A key that nobody writes, so that this succeeds whatever is going on.
    await store.transact({ compare: [{ kind: 'absent', key: 'doctor' }], write: [] });
    taken.push(performance.now() - startedMs);
  }
  return view.config === undefined ? taken : taken.slice(1); // the first one connects
}

async function lookInto(
  { host, pulseSocket, proc }: HostPlace,
  signal: AbortSignal,
): Promise<DaemonFacts> {
  return {
    host,
    pulse: await askPulse(pulseSocket, proc, signal),
    agent: processes(proc).some(({ words }) => isDaemon(words, 'agent')),
  };
}

async function askPulse(
  path: string,
  proc: string,
  signal: AbortSignal,
): Promise<PulseFacts | { trouble: string }> {
  try {
    const looks = await askStatus(path, {
      times: leaseLooks,
      pauseMs: leasePauseMs,
      timeoutMs: pulseMs,
      signal,
    });
    const left = looks.map(({ deadlineMs, nowMs }) => (deadlineMs ?? nowMs) - nowMs);
    return {
      trouble: undefined,
      leastLeftMs: Math.min(...left),
      realTime: processes(proc).some(
        ({ words, policy }) => isDaemon(words, 'pulse') && policy !== 0,
      ),
    };
  } catch (thrown) {
    signal.throwIfAborted();
    return { trouble: `${messageOf(thrown)} (pulse.sock)` };
  }
}

interface Process {
  readonly words: readonly string[];
  /** Scheduling policy: 0 is the ordinary one (sched(7)). */
  readonly policy: number;
}

/** Every process of a host. One that ends meanwhile is left out. */
function processes(proc: string): readonly Process[] {
  return readdirSync(proc)
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const words = readFileSync(`${proc}/${pid}/cmdline`, 'utf8').split('\0');
        const stat = readFileSync(`${proc}/${pid}/stat`, 'utf8');
        // Field 41 of proc_pid_stat(5); the second, in parentheses, may hold spaces.
        const policy = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38]);
        return [{ words, policy }];
      } catch {
        return [];
      }
    });
}

function isDaemon(words: readonly string[], name: 'agent' | 'pulse'): boolean {
  const at = words.findIndex((word) => /(^|\/)(understudy|main\.js)$/.test(word));
  return at >= 0 && words[at + 1] === name;
}

async function askPortals(
  config: ClusterConfig,
  places: readonly HostPlace[],
): Promise<readonly PortalFacts[]> {
  const pools = new Map(config.hosts.map(({ name, pool }) => [name, pool]));
  const portals = [...new Set(config.volumes.flatMap((volume) => volume.portals))];
  const asked = places
    .filter(({ host }) => pools.get(host) !== null)
    .flatMap((place) => portals.map((portal) => ({ place, portal })));
  return Promise.all(
    asked.map(async ({ place, portal }) => {
      const { host, port } = splitPortal(portal);
      const refused = await refusesTcp(place.network, ipBytes(host), port, portalMs);
      return { portal, from: place.host, answers: refused === undefined };
    }),
  );
}
