import { ClusterWatch } from '../../agent/cluster-watch.js';
import { statusOf } from '../../control/status.js';
import { configOf, parseRoleId, type View } from '../../control/view.js';
import { within } from '../../deadline.js';
import { messageOf, UnderstudyError } from '../../errors.js';
import { applyConfig, meantFor } from '../../operate/apply.js';
import { personHere } from '../../operate/audit.js';
import { systemTimers } from '../../store/timers.js';
import type { Store } from '../../store/types.js';
import { type ClusterOptions, withCluster } from '../cluster.js';
import { printProblems, readClusterFile } from '../cluster-file.js';
import { Progress } from '../progress.js';

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
    meantFor(cluster.name, parsed.config, options.file);
    const wanted = cluster.fit(parsed.config);
    const generation = await applyConfig(cluster.store, wanted, personHere());
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
  const status = statusOf(view, config, undefined, () => new Map());
  const { personalities, services, controllersChange: change } = status;
  const named = [
    ...personalities.map(({ name, phase }) => ({ id: `personality/${name}`, name, phase })),
    ...services.map(({ name, phase }) => ({ id: `service/${name}`, name, phase })),
  ];
  const wanted = new Set(named.map(({ id }) => id));
  const leaving = [...view.assignments]
    .filter(([id, { value }]) => value.host !== null && !wanted.has(id))
    .map(([id]) => `${parseRoleId(id).name} leaving`);
  const late = named.filter(({ phase }) => phase !== 'running');
  const changing = change === null ? [] : [`controllers ${change.phase}: ${change.reason}`];
  return {
    total: named.length + leaving.length + changing.length,
    waiting: [...late.map(({ name, phase }) => `${name} ${phase}`), ...leaving, ...changing],
  };
}
