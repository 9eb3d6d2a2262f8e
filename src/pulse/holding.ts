import { type Ailments, isDark } from '../control/lease/ailments.js';
import {
  type HolderState,
  hearsAilments,
  holderWakeNs,
  isRefused,
  startHolder,
  stepHolder,
} from '../control/lease/holder.js';
import type { HolderOutput } from '../control/lease/holder-events.js';
import { later } from '../control/lease/instants.js';
import type { Counters } from './counters.js';
import { type LeaseMap, noLimitNs } from './lease-map.js';
import { type Packet, takesAilments } from './packet.js';
import type { PulseEvent, PulsePeer, PulseRequest } from './protocol.js';

export type EnrolRequest = Extract<PulseRequest, { kind: 'enrol' }>;

export interface HoldingParts {
  readonly request: EnrolRequest;
  readonly map: LeaseMap;
  /** 32 hex digits, fresh. */
  readonly nonce: string;
  readonly counters: Counters;
  send(peer: PulsePeer, packet: Packet): void;
  emit(event: PulseEvent): void;
  log(fields: object, text: string): void;
}

/** The lease of this host under one incarnation: heartbeats out, acks in, deadline into the kernel. */
export class Holding {
  readonly request: EnrolRequest;
  readonly #parts: HoldingParts;
  readonly #controllers: ReadonlyMap<string, PulsePeer>;
  /** Since when a lease has been asked for. */
  #askingSinceNs: bigint;
  #state: HolderState;
  #agentAway = false;

  constructor(parts: HoldingParts, nowNs: bigint) {
    const { request, nonce } = parts;
    this.#parts = parts;
    this.request = request;
    this.#controllers = new Map(request.controllers.map((peer) => [peer.name, peer]));
    const { set, sets } = request.electorate ?? { set: 0, sets: [[...this.#controllers.keys()]] };
    const terms = {
      incarnation: request.incarnation,
      nonce,
      set,
      controllers: sets,
      heartbeatNs: BigInt(request.heartbeatMs) * 1_000_000n,
      leaseNs: BigInt(request.leaseMs) * 1_000_000n,
    };
    this.#askingSinceNs = nowNs;
    this.#state = startHolder(terms, nowNs);
    if (!request.enforce) parts.map.raise(noLimitNs);
  }

  get map(): LeaseMap {
    return this.#parts.map;
  }
  get wakeNs(): bigint {
    return holderWakeNs(this.#state);
  }

  /** End of the lease, that of an earlier pulse process included; null before the first majority. */
  deadlineNs(): bigint | null {
    if (!this.request.enforce) return this.#state.deadlineNs;
    const inKernelNs = this.map.read();
    return inKernelNs === 0n ? null : inKernelNs;
  }

  /** The longer lease that is asked for; 0n for none. */
  get wishNs(): bigint {
    return this.#state.wishNs;
  }

  tick(nowNs: bigint): void {
    const step = stepHolder(this.#state, { kind: 'tick' }, nowNs);
    this.#state = step.state;
    this.#obey(step.outputs);
  }

  /** From now on heartbeats say whether this host has an agent. */
  set agentAway(away: boolean) {
    this.#agentAway = away;
  }

  /** No lease is asked for while it rests: what runs is let run out. */
  rest(resting: boolean, nowNs: bigint): void {
    if (this.#state.resting === resting) return;
    const { incarnation } = this.request;
    const text = resting ? 'asking for no lease' : 'asking for a lease again';
    this.#parts.log({ incarnation }, text);
    this.#askingSinceNs = nowNs;
    const step = stepHolder(this.#state, { kind: 'rest', resting }, nowNs);
    this.#state = step.state;
    this.#obey(step.outputs);
  }

  /** Asks for a lease of this length from now on; 0 for the ordinary one. */
  wish(leaseMs: number, nowNs: bigint): void {
    const leaseNs = BigInt(leaseMs) * 1_000_000n;
    const step = stepHolder(this.#state, { kind: 'wish', leaseNs }, nowNs);
    this.#state = step.state;
    this.#obey(step.outputs);
  }

  /** Whether this process itself holds the lease, not only the one before. */
  held(nowNs: bigint): boolean {
    const { deadlineNs } = this.#state;
    return deadlineNs !== null && nowNs < deadlineNs;
  }

  receive(packet: Packet, nowNs: bigint): void {
    const { type, sender: from, incarnation, nonce, seq, ackId, leaseNs, set } = packet;
    if (type === 'heartbeat') return;
    const ids = { incarnation, nonce, seq, ackId, leaseNs, takesAilments: set === takesAilments };
    const step = stepHolder(this.#state, { kind: 'answer', answer: type, from, ...ids }, nowNs);
    this.#state = step.state;
    this.#parts.counters.add(step.reason);
    this.#obey(step.outputs);
  }

  /** Tells an agent that just came what it may have missed. */
  retell(nowNs: bigint): void {
    const { deadlineNs, held } = this.#state;
    const { incarnation } = this.request;
    if (held && deadlineNs !== null && nowNs < deadlineNs) {
      this.#parts.emit(this.#heldUntil(deadlineNs));
    }
    if (isRefused(this.#state)) this.#parts.emit({ kind: 'refused', incarnation });
  }

  close(): void {
    this.map.close();
  }

  #heldUntil(deadlineNs: bigint): PulseEvent {
    const { incarnation } = this.request;
    const { set } = this.#state.terms;
    const event = { kind: 'lease-held', incarnation, deadlineMs: toMs(deadlineNs) } as const;
    return set === 0 ? event : { ...event, set };
  }

  #obey(outputs: readonly HolderOutput[]): void {
    for (const output of outputs) this.#obeyOne(output);
  }

  #obeyOne(output: HolderOutput): void {
    const { incarnation } = this.request;
    const { emit, log } = this.#parts;
    switch (output.kind) {
      case 'heartbeat':
        this.#sendHeartbeat(output);
        return;
      case 'raise':
        this.#raise(output.deadlineNs);
        return;
      case 'lease-held':
        log({ incarnation }, 'lease held');
        emit(this.#heldUntil(output.deadlineNs));
        return;
      case 'lease-lapsed':
        log({ incarnation }, 'lease lapsed');
        emit({ kind: 'lease-lapsed', incarnation, atMs: toMs(output.deadlineNs) });
        return;
      case 'refused':
        log({ incarnation }, 'a majority of controllers refuses this incarnation');
        emit({ kind: 'refused', incarnation });
    }
  }

  /** A map that cannot be written leaves the old deadline, which is the safe side. */
  #raise(deadlineNs: bigint): void {
    if (!this.request.enforce) return;
    try {
      this.map.raise(deadlineNs);
    } catch (thrown) {
      this.#parts.counters.add('guard-map-failed');
      this.#parts.log({ err: thrown }, 'the guard map could not be raised');
    }
  }

  #sendHeartbeat(output: Extract<HolderOutput, { kind: 'heartbeat' }>): void {
    const peer = this.#controllers.get(output.to);
    if (peer === undefined) return;
    const { incarnation, host } = this.request;
    this.#parts.send(peer, {
      type: 'heartbeat',
      sender: host,
      receiver: output.to,
      incarnation,
      nonce: this.#state.terms.nonce,
      seq: output.seq,
      sentAtNs: output.sentAtNs,
      ackId: output.echo,
      leaseNs: output.wishNs,
      set: output.set,
      ...(hearsAilments(this.#state, output.to) ? this.#ailments(output.sentAtNs) : {}),
    });
  }

  /** Nothing ails it: nothing is said, and the packet is one that every version takes. */
  #ailments(nowNs: bigint): { readonly ailments?: Ailments } {
    const dark = this.request.enforce && this.#isDark(nowNs);
    return dark || this.#agentAway ? { ailments: { dark, agentAway: this.#agentAway } } : {};
  }

  /** Counted by the kernel's map: a lease of an earlier pulse process is one too. */
  #isDark(nowNs: bigint): boolean {
    if (this.held(nowNs)) return false;
    const endedNs = later(this.deadlineNs() ?? 0n, this.#askingSinceNs);
    return isDark(endedNs, this.#state.terms.leaseNs, nowNs);
  }
}

export const toMs = (ns: bigint): number => Number(ns) / 1e6;
