import { parseClusterFile } from '../config/parse.js';
import type { ClusterConfig } from '../config/types.js';
import { ViewKeeper } from '../control/view.js';
import { UnderstudyError } from '../errors.js';
import { planApply } from '../plan/plan.js';
import type { Plan } from '../plan/types.js';
import { digest, meantFor, refused, undecided } from './apply.js';

/** What a store held, and a file from somebody. */
export interface PlanTask {
  readonly cluster: string;
  readonly file: string;
  /** Undefined: the file is read, nothing more. */
  readonly entries:
    | readonly { readonly key: string; readonly value: string; readonly modRevision: number }[]
    | undefined;
}

export interface PlanAnswer {
  readonly config: ClusterConfig;
  readonly plan: Plan | undefined;
}

/**
 * Reads a file and plans it. Pure, and of no little work: up to a MiB of YAML, every host before and after.
 *
 * @throws {UnderstudyError} US_API_FILE with the first faults, and what `plan` throws
 */
export function readAndPlan({ cluster, file, entries }: PlanTask): PlanAnswer {
  const parsed = parseClusterFile(file, 'the file');
  if (!parsed.ok) {
    const faults = parsed.problems
      .slice(0, 10)
      .map(({ path, line, what, write }) => `line ${line}: ${path}: ${what} (${write})`);
    throw unusable(faults.join('; '), 'understudy validate FILE tells every fault');
  }
  if (parsed.lab !== undefined) {
    throw unusable('it has a lab: section', 'take that section out; a lab has its own commands');
  }
  const { config } = parsed;
  meantFor(cluster, config, 'the file');
  if (entries === undefined) return { config, plan: undefined };
  const keeper = new ViewKeeper();
  keeper.reset(entries);
  const decided = planApply(keeper.view, config, digest);
  if (decided.kind === 'undecided') throw undecided(decided.network, decided.hosts);
  if (decided.kind === 'refused') throw refused(cluster, decided);
  return { config, plan: decided.plan };
}

function unusable(cause: string, remedy: string): UnderstudyError {
  const [action, object] = ['cannot use', 'this cluster file'];
  return new UnderstudyError({ code: 'US_API_FILE', action, object, cause, remedy });
}
