import { setTimeout as pause } from 'node:timers/promises';
import { UnderstudyError } from '../errors.js';
import {
  countEach,
  endConnections,
  establishedPeers,
  halfLogins,
  othersAddresses,
  type Portals,
  plainAddress,
} from './half-login.js';
import { MaskLedger } from './mask-ledger.js';
import { TgtControl, type TgtControlOptions, type TgtTarget } from './tgt-control.js';
import { hostOfInitiator, type MaskAdapter, type MaskOrder } from './types.js';

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
  /** Targets of which it is known that no former owner is half logged in: of none, when this daemon starts. */
  readonly #settled = new Set<string>();
  /** Hosts that were unbound from targets that are not settled yet; undefined: it may have been any. */
  readonly #former = new Map<string, ReadonlySet<string> | undefined>();
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
    const bound = order.initiator !== undefined && admitted.includes(order.initiator);
    const unsettled = others.length > 0 || !(bound || this.#settled.has(order.target));
    if (unsettled) {
      this.#remember(order.target, others);
      for (const entry of others) await this.#tgt.unbind(tid, entry, signal);
      await this.#settleLogins(order, signal);
    }
    const expelled = await this.#expel(tid, order, signal);
    // A dead connection whose last command is not done is listed with its descriptor, which the next login has by then.
    if (unsettled && expelled) await this.#settleLogins(order, signal);
    this.#settled.add(order.target);
    this.#former.delete(order.target);
    // Where the next owner is, nobody has seen yet.
    if (others.length > 0) this.#addresses.delete(order.target);
    await written;
    if (order.initiator !== undefined && !bound) {
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

  /** Before they are unbound: whatever fails from here on, it is them who have to be out. */
  #remember(target: string, entries: readonly string[]): void {
    const hosts = entries.map(hostOfInitiator);
    const known = hosts.filter((host) => host !== undefined);
    const before = this.#former.get(target) ?? [];
    // An address, or a name that is none of ours, says nothing of where it is.
    const any = known.length < hosts.length || (known.length === 0 && !this.#former.has(target));
    const stays = this.#former.has(target) && this.#former.get(target) === undefined;
    this.#former.set(target, any || stays ? undefined : new Set([...before, ...known]));
    this.#settled.delete(target);
  }

  /** Waits until every login of the old owner that had begun has ended, or ends it. */
  async #settleLogins(order: MaskOrder, signal: AbortSignal): Promise<void> {
    const portals = this.#portals ?? (await this.#tgt.portals(signal));
    const seen = this.#addresses.get(order.target) ?? new Set();
    const hung = async () => {
      // In this order: one that comes in between is listed, or not yet there.
      const established = establishedPeers(portals);
      if (established.size === 0) return [];
      const listed = await this.#tgt.peers(signal);
      const found = halfLogins(established, countEach(listed.map(({ address }) => address)));
      // The old owner's host may have more addresses than it was seen at. Only who is logged in is known to be another.
      const others = othersAddresses(listed, this.#former.get(order.target));
      return found.filter((address) => seen.has(address) || !others.has(address));
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

  /** @returns whether anybody was there */
  async #expel(tid: number, order: MaskOrder, signal: AbortSignal): Promise<boolean> {
    for (let round = 0; round < maxRounds; round += 1) {
      const strangers = await this.#strangers(tid, order, signal);
      if (strangers.length === 0) return round > 0;
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
