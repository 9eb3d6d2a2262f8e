import { statusOfView } from '../agent/cluster-status.js';
import { ClusterWatch } from '../agent/cluster-watch.js';
import { waitUntilSettled } from '../cli/run/apply.js';
import type { ClusterConfig } from '../config/types.js';
import type { HostStatus } from '../control/status.js';
import { within } from '../deadline.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { enterNetworkNamespace } from '../ffi/namespace.js';
import { applyConfig } from '../operate/apply.js';
import { personHere } from '../operate/audit.js';
import { EtcdStore } from '../store/etcd.js';
import type { Store } from '../store/types.js';
import { runScript } from './inside.js';
import type { Lab } from './lab.js';
import { controlNode } from './plan.js';
import { startTargetDaemon } from './services.js';
import { labDirectory } from './state.js';

export interface SettleOptions {
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** How long until everything has to run. Default 60 000, with virtual machines 1 200 000. */
  readonly settleMs?: number;
}

const etcdMs = 20_000;
const lastLines = 6;

/**
 * Applies the lab's definition and waits until every personality and service runs, every host is
 * up and every controller grants. Moves this process's network into the lab's control node.
 *
 * @throws {UnderstudyError} US_LAB_SETTLE with the ends of the daemons' logs, which go with the lab
 */
export async function settle(lab: Lab, options: SettleOptions): Promise<void> {
  const { config, backend } = lab.plan;
  const { signal, settleMs = backend === 'vm' ? 1_200_000 : 60_000 } = options;
  enterNetworkNamespace(lab.namespacePath(controlNode.name));
  const prefix = `/understudy/${config.cluster}/`;
  const store = new EtcdStore({ endpoints: lab.endpoints, prefix, identity: 'lab' });
  try {
    await store.list('config', { budgetMs: etcdMs, signal });
    await applied(store, config, within(settleMs, signal));
    const start = startTargetDaemon(labDirectory(lab.name));
    await runScript(lab.pid, 'start the target daemon', start);
    options.say('nodes are up; waiting until every personality runs');
    const limit = within(settleMs, signal);
    const settled = waitUntilSettled(store, limit).then(() => untilComplete(store, limit));
    await settled.catch((thrown: unknown) => {
      signal.throwIfAborted();
      throw new UnderstudyError({
        code: 'US_LAB_SETTLE',
        action: 'cannot bring up lab',
        object: lab.name,
        cause: `not everything ran within ${settleMs} ms: ${messageOf(thrown)}\n${lastWords(lab)}`,
        remedy: 'look at the agents’ last words above',
      });
    });
  } finally {
    await store.stop();
  }
}

/**
 * Applies it, again where no member of etcd answered: while all hosts start, a small machine has no time for
 * etcd. To apply what is applied already changes nothing.
 */
async function applied(store: Store, config: ClusterConfig, limit: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await applyConfig(store, config, personHere());
      return;
    } catch (thrown) {
      const unasked = thrown instanceof UnderstudyError && thrown.code === 'US_STORE_UNREACHABLE';
      if (!unasked || limit.aborted) throw thrown;
    }
  }
}

/**
 * A spare that has not enrolled, or a controller that takes part in no majority yet, is missing as if it had
 * failed: the first fault in the lab would be the second one.
 */
async function untilComplete(store: Store, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const watch = new ClusterWatch(store);
  watch.start(AbortSignal.any([signal, stop.signal]));
  try {
    await watch.until(() => {
      const hosts = statusOfView(watch.view, undefined)?.hosts;
      return hosts?.every(isComplete) ?? false;
    }, signal);
  } finally {
    stop.abort();
  }
}

function isComplete({ state, controller, granting }: HostStatus): boolean {
  return state === 'up' && (granting || !controller);
}

function lastWords(lab: Lab): string {
  const own = lab.plan.backend === 'vm' ? '' : '-agent';
  return [...lab.plan.hosts.map(({ name }) => `${name}${own}`), 'target']
    .map((name) => {
      try {
        const lines = lab.readFile(`logs/${name}.log`).trimEnd().split('\n');
        return `-- ${name}\n${lines.slice(-lastLines).join('\n')}`;
      } catch {
        return `-- ${name}: no log`;
      }
    })
    .join('\n');
}
