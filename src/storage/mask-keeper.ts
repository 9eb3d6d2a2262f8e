import { maskKey } from '../control/keys.js';
import type { MaskRecord } from '../control/records.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { SoleWriter } from '../sole-writer.js';
import type { Timers } from '../store/timers.js';
import type { Operation, Store } from '../store/types.js';
import type { Log } from './log.js';
import type { MaskLedger } from './mask-ledger.js';
import type { OwnedMaskOrder } from './mask-orders.js';
import type { MaskAdapter, MaskOrder } from './types.js';

/** A mask adapter that can also tell whether a mask is still as it was ordered. */
export interface VerifiableMask extends MaskAdapter {
  holds(order: MaskOrder, signal: AbortSignal): Promise<boolean>;
  readonly ledger: Pick<MaskLedger, 'targets' | 'forget'>;
}

export interface MaskKeeperParts {
  readonly mask: VerifiableMask;
  readonly store: Pick<Store, 'transact'>;
  readonly log: Log;
  readonly timers: Timers;
  /** Boot clock of this host, ms. */
  readonly nowMs: () => number;
  readonly firstRetryMs?: number;
  readonly longestRetryMs?: number;
}

interface Worker {
  wanted: OwnedMaskOrder;
  /** The order that was carried out and recorded last. */
  settled: OwnedMaskOrder | undefined;
  running: boolean;
  failures: number;
  cancelRetry: () => void;
}

/**
 * Keeps every target's mask as the newest order says: one order at a time for a target, targets
 * side by side. What was done, or why it was not, is written to `mask/<target>`.
 */
export class MaskKeeper {
  readonly #parts: MaskKeeperParts;
  readonly #workers = new Map<string, Worker>();
  readonly #stopped = new AbortController();
  readonly #work = new Set<Promise<void>>();
  readonly #records: SoleWriter;
  #verifying = false;

  constructor(parts: MaskKeeperParts) {
    this.#parts = parts;
    this.#records = new SoleWriter(parts.store);
  }

  /**
   * Replaces all orders. Targets that were ordered before and are no longer get closed for good.
   *
   * @param leaving whether a personality has left the configuration and still stands on its host: what
   *   it has it keeps until it has let go, so that it can write back
   */
  async order(
    orders: readonly OwnedMaskOrder[],
    generation: number,
    leaving: (personality: string) => boolean = () => false,
  ): Promise<void> {
    const named = new Set(orders.map(({ target }) => target));
    const known = await this.#parts.mask.ledger.targets();
    const held = (target: string) => {
      const last = known.get(target);
      return last !== undefined && last.initiator !== null && leaving(last.personality);
    };
    for (const target of known.keys()) {
      if (!named.has(target) && !held(target)) this.#want(closing(target, generation));
    }
    for (const order of orders) if (!held(order.target)) this.#want(order);
  }

  /**
   * Looks at every settled mask, and applies again what somebody else (or a restart of tgtd) changed.
   * One round at a time: with many targets it may take longer than the pause between two.
   */
  async verify(): Promise<void> {
    if (this.#verifying) return;
    this.#verifying = true;
    await this.#verifyAll().finally(() => {
      this.#verifying = false;
    });
  }

  async #verifyAll(): Promise<void> {
    const { mask, log } = this.#parts;
    for (const [target, worker] of this.#workers) {
      if (worker.running || worker.settled !== worker.wanted || this.#stopped.signal.aborted)
        continue;
      const order = worker.wanted;
      try {
        if (await mask.holds(order, this.#stopped.signal)) continue;
        log.warn({ target }, `the mask of ${target} was changed by somebody else`);
      } catch (thrown) {
        log.warn({ target }, `cannot see the mask of ${target}: ${messageOf(thrown)}`);
      }
      if (worker.wanted !== order) continue;
      worker.settled = undefined;
      this.#start(target, worker);
    }
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    this.#stopped.abort(new Error('the mask keeper was stopped'));
    for (const worker of this.#workers.values()) worker.cancelRetry();
    await Promise.allSettled(this.#work);
  }

  #want(order: OwnedMaskOrder): void {
    const worker = this.#workers.get(order.target);
    if (worker === undefined) {
      const fresh = {
        wanted: order,
        settled: undefined,
        running: false,
        failures: 0,
        cancelRetry: () => {},
      };
      this.#workers.set(order.target, fresh);
      this.#start(order.target, fresh);
      return;
    }
    if (sameOrder(worker.wanted, order)) return;
    worker.wanted = order;
    worker.failures = 0;
    this.#start(order.target, worker);
  }

  #start(target: string, worker: Worker): void {
    worker.cancelRetry();
    // One that is running looks at `wanted` again when it is done.
    if (worker.running || this.#stopped.signal.aborted) return;
    worker.running = true;
    const work = this.#run(target, worker).finally(() => this.#work.delete(work));
    this.#work.add(work);
  }

  async #run(target: string, worker: Worker): Promise<void> {
    for (;;) {
      const order = worker.wanted;
      const failure = await this.#carryOut(order);
      if (this.#stopped.signal.aborted) break;
      if (failure === undefined) {
        worker.settled = order;
        worker.failures = 0;
      } else if (worker.wanted === order) {
        worker.failures += 1;
        this.#retryLater(target, worker, failure);
      }
      if (worker.wanted === order) break;
    }
    worker.running = false;
    // Whoever lets in others there from now on may: the target is nobody's of this cluster.
    const closed = worker.wanted.retired === true && worker.settled === worker.wanted;
    if (closed) this.#workers.delete(target);
  }

  #retryLater(target: string, worker: Worker, failure: unknown): void {
    // The order is late: only a newer one can be carried out.
    if (codeOf(failure) === 'US_STORAGE_STALE_EPOCH') return;
    const { timers, firstRetryMs = 50, longestRetryMs = 5_000 } = this.#parts;
    const waitMs = Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(worker.failures - 1, 16));
    worker.cancelRetry = timers.after(waitMs, () => this.#start(target, worker));
  }

  /** @returns what went wrong, if anything */
  async #carryOut(order: OwnedMaskOrder): Promise<unknown> {
    const { mask, log, nowMs } = this.#parts;
    const started = nowMs();
    try {
      await mask.apply(order, this.#stopped.signal);
      const tookMs = nowMs() - started;
      await this.#record(order, tookMs, undefined);
      if (order.retired) await mask.ledger.forget(order.target);
      const { target, epoch, initiator } = order;
      log.info({ target, epoch, tookMs }, `${target} lets in ${initiator ?? 'nobody'}`);
      return undefined;
    } catch (thrown) {
      if (this.#stopped.signal.aborted) return thrown;
      log.warn({ target: order.target, epoch: order.epoch }, messageOf(thrown));
      if (order.retired && codeOf(thrown) === 'US_STORAGE_TARGET_NOT_FOUND') {
        return mask.ledger.forget(order.target).catch((failure: unknown) => failure);
      }
      await this.#record(order, nowMs() - started, thrown).catch((failure: unknown) =>
        log.warn({ target: order.target }, `not recorded: ${messageOf(failure)}`),
      );
      return thrown;
    }
  }

  async #record(order: OwnedMaskOrder, tookMs: number, failure: unknown): Promise<void> {
    const late = codeOf(failure) === 'US_STORAGE_STALE_EPOCH';
    if (late && order.retired) return;
    const key = maskKey(order.target);
    const record: MaskRecord & { appliedAtMs: number } = {
      personality: order.personality,
      host: order.host,
      epoch: order.epoch,
      initiator: order.initiator ?? null,
      appliedAtMs: this.#parts.nowMs(),
      tookMs: Math.round(tookMs * 10) / 10,
      move: order.move ?? null,
      ...(failure === undefined ? {} : { error: messageOf(failure) }),
    };
    const write: Operation =
      order.retired && failure === undefined
        ? { kind: 'delete', key }
        : { kind: 'put', key, value: JSON.stringify(record) };
    const { signal } = this.#stopped;
    if (!late && codeOf(failure) !== 'US_STORAGE_TARGET_NOT_FOUND') {
      await this.#records.write(write, signal);
      return;
    }
    // Another storage host may have this target, and writes what is true of it. A late order says nothing
    // about the mask as it is; but where no mask was ever recorded, the store is younger than the ledger.
    await this.#parts.store.transact(
      { compare: [{ kind: 'absent', key }], write: [write] },
      { signal },
    );
  }
}

/** Order for a target that left the configuration: nobody, and then it is forgotten. */
function closing(target: string, generation: number): OwnedMaskOrder {
  const nobody = { personality: '', epoch: 0, host: null, initiator: undefined };
  return { target, generation, ...nobody, retired: true };
}

/** Nobody waits for an answer to a move that is over. */
const sameMove = (old: OwnedMaskOrder, { move }: OwnedMaskOrder): boolean =>
  move === undefined || move === old.move;

function sameOrder(a: OwnedMaskOrder, b: OwnedMaskOrder): boolean {
  return (
    a.personality === b.personality &&
    a.epoch === b.epoch &&
    a.initiator === b.initiator &&
    a.host === b.host &&
    a.luns?.join() === b.luns?.join() &&
    sameMove(a, b) &&
    a.retired === b.retired
  );
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof UnderstudyError ? thrown.code : undefined;
}
