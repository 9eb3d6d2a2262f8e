import { UnderstudyError } from '../errors.js';
import type { VerifiableMask } from '../storage/mask-keeper.js';
import type { MaskLedger } from '../storage/mask-ledger.js';
import { type LedgerEntry, nextEntry, staleReason } from '../storage/mask-ledger.js';
import type { MaskOrder } from '../storage/types.js';
import type { Effort } from './effort.js';
import type { Sabotage } from './sabotage.js';

/** Whom one target lets in. */
interface Door {
  bound: string | undefined;
}

/**
 * The iSCSI target: what is bound may log in and write; who logged in once and is bound no more has
 * its connections deleted. The ledger of epochs is on its disk.
 */
export class IscsiTarget {
  readonly #doors = new Map<string, Door>();
  readonly #ledger = new Map<string, LedgerEntry>();
  readonly #reservations = new Map<string, { initiator: string; epoch: number }>();
  readonly #changed: () => void;
  readonly #sabotage: Sabotage;

  constructor(changed: () => void, sabotage: Sabotage) {
    this.#changed = changed;
    this.#sabotage = sabotage;
  }

  /** Whether a write of this initiator is accepted now. */
  accepts(target: string, initiator: string): boolean {
    const reserved = this.#reservations.get(target);
    const only = reserved?.initiator ?? this.#doors.get(target)?.bound;
    return this.#sabotage.openTarget || only === initiator;
  }

  /** @returns the epochs that were thrown out. @throws {UnderstudyError} US_STORAGE_STALE_EPOCH */
  reserve(target: string, initiator: string, epoch: number): readonly string[] {
    const last = this.#reservations.get(target);
    if (last !== undefined && last.epoch > epoch) {
      throw staleOrder({ target }, `epoch ${last.epoch} is registered`);
    }
    this.#reservations.set(target, { initiator, epoch });
    this.#changed();
    return last === undefined || last.epoch === epoch ? [] : [`epoch ${last.epoch}`];
  }

  /** The mask adapter of one process of understudy-target. */
  mask(effort: Effort): VerifiableMask {
    return {
      apply: (order, signal) => this.#apply(order, effort, signal),
      holds: async (order, signal) => {
        await effort.step(`look at the mask of ${order.target}`, 1, 10, signal);
        return this.#doors.get(order.target)?.bound === order.initiator;
      },
      ledger: this.#openLedger(),
    };
  }

  #openLedger(): Pick<MaskLedger, 'targets' | 'forget'> {
    return {
      targets: async () => new Map(this.#ledger),
      forget: async (target) => {
        this.#ledger.delete(target);
      },
    };
  }

  async #apply(order: MaskOrder, effort: Effort, signal: AbortSignal): Promise<void> {
    const last = this.#ledger.get(order.target);
    const stale = staleReason(last, order);
    if (stale !== undefined) throw staleOrder(order, stale);
    await effort.step(`remember the epoch of ${order.target}`, 0.2, 3, signal);
    this.#ledger.set(order.target, nextEntry(last, order));
    const door = this.#doors.get(order.target) ?? { bound: undefined };
    this.#doors.set(order.target, door);
    if (door.bound === order.initiator) return;
    await effort.step(`unbind from ${order.target}`, 2, 15, signal);
    door.bound = undefined;
    this.#changed();
    await effort.step(`bind to ${order.target}`, 2, 15, signal);
    door.bound = order.initiator;
    this.#changed();
  }
}

function staleOrder({ target }: Pick<MaskOrder, 'target'>, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_STALE_EPOCH',
    action: 'refused to change the mask of',
    object: target,
    cause,
    remedy: 'nothing: the order was late',
  });
}
