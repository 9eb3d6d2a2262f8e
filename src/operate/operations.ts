import { createHash } from 'node:crypto';
import { type View, ViewKeeper } from '../control/view.js';
import { UnderstudyError } from '../errors.js';
import type { Plan } from '../plan/types.js';
import type { Store } from '../store/types.js';
import { applyConfig } from './apply.js';
import type { Actor } from './audit.js';
import { type Drained, drain } from './drain.js';
import { type Fenced, fenced } from './fenced.js';
import { type Moved, move } from './move.js';
import type { PlanAnswer, PlanTask } from './read-plan.js';

/** Each holds the store's whole content; more would only wait for one another. */
const mostAtOnce = 4;

export interface OperationsParts {
  readonly cluster: string;
  readonly store: Store;
  readAndPlan(task: PlanTask): Promise<PlanAnswer>;
}

/** What operators do, for callers who are no command line: on what the store holds at that moment. */
export class Operations {
  readonly #parts: OperationsParts;
  #running = 0;
  #planning = false;

  constructor(parts: OperationsParts) {
    this.#parts = parts;
  }

  /** @throws US_API_FILE, US_API_BUSY, US_APPLY_CLUSTER, US_APPLY_REFUSED, US_FABRIC_UNKNOWN */
  async plan(file: string): Promise<Plan & { readonly id: string }> {
    return this.#one(() =>
      this.#thinking(async () => {
        const { entries } = await this.#parts.store.list('');
        const { cluster } = this.#parts;
        const { plan } = await this.#parts.readAndPlan({ cluster, file, entries });
        if (plan === undefined) throw new TypeError('entries were given, so there is a plan');
        return { id: planId(viewOf(entries), file), ...plan };
      }),
    );
  }

  /**
   * Only a file whose plan somebody has seen, and only while the definition is still the one that it was
   * made for. Where personalities are may have changed since.
   *
   * @throws US_API_PLAN, and what `plan` throws
   */
  async apply(
    file: string,
    plan: string,
    actor: Actor,
  ): Promise<{ readonly cluster: string; readonly generation: number }> {
    const { cluster, store } = this.#parts;
    return this.#one(async () => {
      const { config } = await this.#thinking(() =>
        this.#parts.readAndPlan({ cluster, file, entries: undefined }),
      );
      const generation = await applyConfig(store, config, actor, (view) => {
        if (planId(view, file) !== plan) throw stale();
      });
      return { cluster, generation };
    });
  }

  async move(personality: string, to: string | undefined, actor: Actor): Promise<Moved> {
    return this.#one(async () =>
      move(this.#parts.store, await this.#view(), personality, to, actor),
    );
  }

  async drain(wished: Drained, actor: Actor): Promise<Drained> {
    return this.#one(async () => drain(this.#parts.store, await this.#view(), wished, actor));
  }

  async fenced(host: string, actor: Actor): Promise<Fenced> {
    return this.#one(async () => fenced(this.#parts.store, await this.#view(), host, true, actor));
  }

  async #view(): Promise<View> {
    return viewOf((await this.#parts.store.list('')).entries);
  }

  async #one<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= mostAtOnce) throw busy('other operations are being carried out');
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
    }
  }

  async #thinking<T>(work: () => Promise<T>): Promise<T> {
    if (this.#planning) throw busy('another file is being read');
    this.#planning = true;
    try {
      return await work();
    } finally {
      this.#planning = false;
    }
  }
}

type Entries = Parameters<ViewKeeper['reset']>[0];

function viewOf(entries: Entries): View {
  const keeper = new ViewKeeper();
  keeper.reset(entries);
  return keeper.view;
}

/** Stands for a file on top of a definition: the same for the same two, and for no others. */
function planId(view: View, file: string): string {
  const stands = `${view.config?.revision ?? 0} ${view.allocation?.revision ?? 0}`;
  return createHash('sha256').update(`${stands}\n${file}`).digest('hex').slice(0, 32);
}

function stale(): UnderstudyError {
  return new UnderstudyError({
    code: 'US_API_PLAN',
    action: 'cannot apply',
    object: 'this cluster file',
    cause: 'the plan was made for another file, or the definition has changed since',
    remedy: 'POST /v1/plan, look at what it tells, then apply with its id',
  });
}

function busy(cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_API_BUSY',
    action: 'cannot answer',
    object: 'now',
    cause,
    remedy: 'wait some seconds, then try again',
  });
}
