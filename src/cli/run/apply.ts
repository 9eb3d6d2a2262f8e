import { createHash, randomBytes } from 'node:crypto';
import { ClusterWatch } from '../../agent/cluster-watch.js';
import type { ClusterConfig } from '../../config/types.js';
import { decideApply } from '../../control/apply.js';
import { allocationKey, configKey } from '../../control/keys.js';
import { statusOf } from '../../control/status.js';
import { configOf, parseRoleId, type View, ViewKeeper } from '../../control/view.js';
import { within } from '../../deadline.js';
import { messageOf, UnderstudyError } from '../../errors.js';
import { systemTimers } from '../../store/timers.js';
import type { Compare, Store } from '../../store/types.js';
import { type Cluster, type ClusterOptions, withCluster } from '../cluster.js';
import { printProblems, readClusterFile } from '../cluster-file.js';
import { Progress } from '../progress.js';

const attempts = 5;
const settleBudgetMs = 60_000;

export interface ApplyOptions extends ClusterOptions {
  readonly json: boolean;
  readonly file: string;
  readonly wait: boolean;
}

export async function run(options: ApplyOptions): Promise<number> {
  const parsed = readClusterFile(options.file);
  if (!parsed.ok) {
    printProblems(options.file, parsed.problems, options.json);
    return 2;
  }
  return withCluster(options, async (cluster) => {
    const wanted = meantFor(cluster, parsed.config, options.file);
    const generation = await applyConfig(cluster.store, wanted);
    if (options.wait) {
      const signal = within(settleBudgetMs, options.signal);
      const progress = new Progress(
        'waiting until everything runs',
        process.stderr,
        systemTimers(),
      );
      const tell: TellSettling = (...state) => progress.set(...state);
      const settled = waitUntilSettled(cluster.store, signal, tell).finally(() => progress.end());
      await settled.catch((thrown: unknown) => {
        options.signal.throwIfAborted();
        throw new UnderstudyError({
          code: 'US_APPLY_WAIT',
          action: 'cannot see all of it run after applying',
          object: options.file,
          cause: messageOf(thrown),
          remedy: 'it is applied; understudy status and understudy events tell what holds it up',
        });
      });
    }
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ cluster: cluster.name, generation })}\n`
        : `${cluster.name} now follows ${options.file} (generation ${generation})\n`,
    );
    return 0;
  });
}

/** The file as this cluster takes it. @throws US_APPLY_CLUSTER */
export function meantFor(cluster: Cluster, config: ClusterConfig, file: string): ClusterConfig {
  if (config.cluster === cluster.name) return cluster.fit(config);
  throw new UnderstudyError({
    code: 'US_APPLY_CLUSTER',
    action: 'cannot apply',
    object: file,
    cause: `it is for cluster ${config.cluster}, this is ${cluster.name}`,
    remedy: 'name the right cluster with --config or --lab',
  });
}

/** How many roles are as the definition wants them, and what the first other one does. */
export type TellSettling = (done: number, total: number, text: string) => void;

/**
 * Resolves when every personality and service of the definition runs where it is assigned, and what is
 * no longer in it stands nowhere.
 */
export async function waitUntilSettled(
  store: Store,
  signal: AbortSignal,
  tell: TellSettling = () => {},
): Promise<void> {
  const stop = new AbortController();
  const watch = new ClusterWatch(store);
  watch.start(AbortSignal.any([signal, stop.signal]));
  try {
    await watch.until(() => {
      const unsettled = unsettledRoles(watch.view);
      if (unsettled === undefined) return false;
      const { total, waiting } = unsettled;
      tell(total - waiting.length, total, waiting[0] ?? '');
      return waiting.length === 0;
    }, signal);
  } finally {
    stop.abort();
  }
}

/** Undefined before a definition is applied. */
export function unsettledRoles(
  view: View,
): { readonly total: number; readonly waiting: readonly string[] } | undefined {
  const config = configOf(view);
  if (config === undefined) return undefined;
  const { personalities, services } = statusOf(view, config, undefined, () => new Map());
  const named = [
    ...personalities.map(({ name, phase }) => ({ id: `personality/${name}`, name, phase })),
    ...services.map(({ name, phase }) => ({ id: `service/${name}`, name, phase })),
  ];
  const wanted = new Set(named.map(({ id }) => id));
  const leaving = [...view.assignments]
    .filter(([id, { value }]) => value.host !== null && !wanted.has(id))
    .map(([id]) => `${parseRoleId(id).name} leaving`);
  const late = named.filter(({ phase }) => phase !== 'running');
  return {
    total: named.length + leaving.length,
    waiting: [...late.map(({ name, phase }) => `${name} ${phase}`), ...leaving],
  };
}

/**
 * Writes a cluster file to the store, with everything allocated. Agents follow from there.
 *
 * @returns the generation that now stands
 * @throws US_FABRIC_UNKNOWN when `fabric: auto` cannot be decided yet, US_APPLY_REFUSED when a running
 *   role would lose what it stands on, US_APPLY_RACE when somebody else keeps changing the definition
 */
export async function applyConfig(store: Store, wanted: ClusterConfig): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const { entries } = await store.list('');
    const keeper = new ViewKeeper();
    keeper.reset(entries);
    const decision = decideApply(keeper.view, wanted, digest, (bytes) =>
      randomBytes(bytes).toString('hex'),
    );
    if (decision.kind === 'unchanged') return keeper.view.config?.value.generation ?? 0;
    if (decision.kind === 'undecided') throw undecided(decision.network, decision.hosts);
    if (decision.kind === 'refused') throw refused(wanted.cluster, decision);
    const { config, allocation, configRevision, allocationRevision } = decision.application;
    const result = await store.transact({
      compare: [at(configKey, configRevision), at(allocationKey, allocationRevision)],
      write: [
        { kind: 'put', key: configKey, value: JSON.stringify(config) },
        { kind: 'put', key: allocationKey, value: JSON.stringify(allocation) },
      ],
    });
    if (result.done) return config.generation;
  }
  throw new UnderstudyError({
    code: 'US_APPLY_RACE',
    action: 'cannot apply',
    object: wanted.cluster,
    cause: `the definition changed under way, ${attempts} times`,
    remedy: 'see who else applies (understudy events), then try again',
  });
}

/** What vMACs are derived by. */
export function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}

function at(key: string, revision: number | undefined): Compare {
  return revision === undefined
    ? { kind: 'absent', key }
    : { kind: 'revision', key, modRevision: revision };
}

export function refused(
  cluster: string,
  { cause, remedy }: { readonly cause: string; readonly remedy: string },
): UnderstudyError {
  const action = 'cannot apply this definition to';
  return new UnderstudyError({
    code: 'US_APPLY_REFUSED',
    action,
    object: cluster,
    cause,
    remedy,
  });
}

export function undecided(network: string, hosts: readonly string[]): UnderstudyError {
  return new UnderstudyError({
    code: 'US_FABRIC_UNKNOWN',
    action: 'cannot choose the fabric of network',
    object: network,
    cause: `no agent has told yet what the kernel of ${hosts.join(', ')} can do`,
    remedy: 'start the agents first, or write fabric: vlan or fabric: vxlan',
  });
}
