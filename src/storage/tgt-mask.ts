import { setTimeout as pause } from 'node:timers/promises';
import { UnderstudyError } from '../errors.js';
import {
  countEach,
  endConnections,
  establishedPeers,
  halfLogins,
  type Portals,
  plainAddress,
} from './half-login.js';
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
/** A login that is only on its way has ended by then. */
const loginGraceMs = 100;

/**
 * The storage side of the fence on tgt, whose access list is by target. The old owner is out
 * before the new one may come in: unbind, see that no login of its is half done, delete its
 * connections, see them gone, only then bind.
 */
export class TgtMask implements MaskAdapter {
  readonly #tgt: TgtControl;
  readonly ledger: MaskLedger;
  /** Targets whose old owner was unbound and may be half logged in. */
  readonly #unsettled = new Set<string>();
  /** As they were when masks were last looked at. */
  #portals: Portals | undefined;
  /** Where the initiators of a target were last seen. */
  readonly #addresses = new Map<string, ReadonlySet<string>>();

  constructor(options: TgtMaskOptions = {}) {
    this.#tgt = new TgtControl(options);
    this.ledger = new MaskLedger(options.ledgerFile ?? '/var/lib/understudy/target-epochs.json');
  }

  /**
   * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH, US_STORAGE_LEDGER, US_STORAGE_TARGET_NOT_FOUND,
   * US_STORAGE_TARGET_DAEMON, US_STORAGE_TGTADM, US_STORAGE_MASK
   */
  async apply(order: MaskOrder, signal: AbortSignal): Promise<void> {
    const { written } = await this.ledger.admit(order);
    const { tid, admitted } = await this.#find(order.target, signal);
    const others = admitted.filter((entry) => entry !== order.initiator);
    if (others.length > 0) this.#unsettled.add(order.target);
    for (const entry of others) await this.#tgt.unbind(tid, entry, signal);
    if (this.#unsettled.has(order.target)) await this.#settleLogins(order, signal);
    this.#unsettled.delete(order.target);
    await this.#expel(tid, order, signal);
    // Where the next owner is, nobody has seen yet.
    if (others.length > 0) this.#addresses.delete(order.target);
    await written;
    if (order.initiator !== undefined && !admitted.includes(order.initiator)) {
      await this.#tgt.bind(tid, order.initiator, signal);
    }
    await this.#verify(order, signal);
  }

  /** Whether the mask is as ordered, and nobody else is logged in. */
  async holds(order: MaskOrder, signal: AbortSignal): Promise<boolean> {
    // So that a takeover need not ask: a portal may have been added since.
    this.#portals = await this.#tgt.portals(signal);
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

  /** Waits until every login of the old owner that had begun has ended, or ends it. */
  async #settleLogins(order: MaskOrder, signal: AbortSignal): Promise<void> {
    const portals = this.#portals ?? (await this.#tgt.portals(signal));
    const suspects = this.#addresses.get(order.target);
    const hung = async () => {
      // In this order: one that comes in between is listed, or not yet there.
      const established = establishedPeers(portals);
      if (established.size === 0) return [];
      const listed = countEach((await this.#tgt.peers(signal)).map(plainAddress));
      const found = halfLogins(established, listed);
      // Of an owner that was never seen anybody may be the one.
      return suspects === undefined ? found : found.filter((address) => suspects.has(address));
    };
    for (let waitedMs = 0; waitedMs < loginGraceMs; waitedMs += roundPauseMs) {
      if ((await hung()).length === 0) return;
      await pause(roundPauseMs, undefined, { signal });
    }
    for (const address of await hung()) await endConnections(address, portals, signal);
    const left = await hung();
    if (left.length === 0) return;
    throw maskError(
      order,
      `${left.join(', ')} has a connection that is neither logged in nor can be ended (CAP_NET_ADMIN, ss)`,
    );
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
    if (connections.length > 0) {
      const seen = connections.map(({ address }) => plainAddress(address));
      this.#addresses.set(order.target, new Set(seen));
    }
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
