import { setTimeout as pause } from 'node:timers/promises';
import { UnderstudyError } from '../errors.js';
import { MaskLedger } from './mask-ledger.js';
import { TgtControl, type TgtControlOptions, type TgtTarget } from './tgt-control.js';
import type { MaskAdapter, MaskOrder } from './types.js';

export interface TgtMaskOptions extends TgtControlOptions {
  /** The epochs that were applied; default /var/lib/understudy/target-epochs.json. */
  readonly ledgerFile?: string;
}

/** A deleted connection is listed until its last command is done. */
const maxRounds = 200;
const roundPauseMs = 5;

/**
 * The storage side of the fence on tgt, whose access list is by target. The old owner is out
 * before the new one may come in: unbind, delete its connections, see them gone, only then bind.
 */
export class TgtMask implements MaskAdapter {
  readonly #tgt: TgtControl;
  readonly ledger: MaskLedger;

  constructor(options: TgtMaskOptions = {}) {
    this.#tgt = new TgtControl(options);
    this.ledger = new MaskLedger(options.ledgerFile ?? '/var/lib/understudy/target-epochs.json');
  }

  /**
   * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH, US_STORAGE_LEDGER, US_STORAGE_TARGET_NOT_FOUND,
   * US_STORAGE_TARGET_DAEMON, US_STORAGE_TGTADM, US_STORAGE_MASK
   */
  async apply(order: MaskOrder, signal: AbortSignal): Promise<void> {
    await this.ledger.admit(order);
    const { tid, admitted } = await this.#find(order.target, signal);
    const others = admitted.filter((entry) => entry !== order.initiator);
    for (const entry of others) await this.#tgt.unbind(tid, entry, signal);
    await this.#expel(tid, order, signal);
    if (order.initiator !== undefined && !admitted.includes(order.initiator)) {
      await this.#tgt.bind(tid, order.initiator, signal);
    }
    await this.#verify(order, signal);
  }

  /** Whether the mask is as ordered, and nobody else is logged in. */
  async holds(order: MaskOrder, signal: AbortSignal): Promise<boolean> {
    return (await this.#deviation(order, signal)) === undefined;
  }

  async #find(name: string, signal: AbortSignal): Promise<TgtTarget> {
    const found = (await this.#tgt.targets(signal)).find((target) => target.name === name);
    if (found !== undefined) return found;
    throw new UnderstudyError({
      code: 'US_STORAGE_TARGET_NOT_FOUND',
      action: 'cannot set the mask of',
      object: name,
      cause: 'tgtd on this host has no target of that name',
      remedy: 'define it (tgtadm --op new --mode target), or correct target: of the volume',
    });
  }

  async #expel(tid: number, order: MaskOrder, signal: AbortSignal): Promise<void> {
    for (let round = 0; round < maxRounds; round += 1) {
      const strangers = await this.#strangers(tid, order, signal);
      if (strangers.length === 0) return;
      if (round > 0) await pause(roundPauseMs, undefined, { signal });
      for (const connection of strangers) await this.#tgt.disconnect(tid, connection, signal);
    }
    throw maskError(order, 'a connection that was deleted is still there');
  }

  async #strangers(tid: number, order: MaskOrder, signal: AbortSignal) {
    const connections = await this.#tgt.connections(tid, signal);
    return connections.filter(({ initiator }) => initiator !== order.initiator);
  }

  async #verify(order: MaskOrder, signal: AbortSignal): Promise<void> {
    const deviation = await this.#deviation(order, signal);
    if (deviation !== undefined) throw maskError(order, deviation);
  }

  async #deviation(order: MaskOrder, signal: AbortSignal): Promise<string | undefined> {
    const { tid, admitted } = await this.#find(order.target, signal);
    const wanted = order.initiator === undefined ? [] : [order.initiator];
    if (admitted.join() !== wanted.join()) return `it lets in ${admitted.join(', ') || 'nobody'}`;
    const strangers = await this.#strangers(tid, order, signal);
    if (strangers.length === 0) return undefined;
    return `${strangers.map(({ initiator }) => initiator).join(', ')} is logged in`;
  }
}

function maskError(order: MaskOrder, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_MASK',
    action: 'cannot set the mask of',
    object: `${order.target} to ${order.initiator ?? 'nobody'}`,
    cause,
    remedy: 'see whether something else changes this target; understudy target tries again',
  });
}
