import { noAilments, sameAilments } from '../control/lease/ailments.js';
import { stepGrants } from '../control/lease/controller.js';
import type { GrantEvent, GrantOutput } from '../control/lease/grant-events.js';
import {
  type GrantedSets,
  type GrantTerm,
  type HostGrants,
  type LongLease,
  noGrants,
  promiseNs,
} from '../control/lease/grants.js';
import { grantsWakeNs, isLapsed } from '../control/lease/lapses.js';
import { UnderstudyError } from '../errors.js';
import type { Counters } from './counters.js';
import { toMs } from './holding.js';
import { type Packet, takesAilments } from './packet.js';
import type { PromiseRecord } from './promise-record.js';
import type { PulseEvent, PulseHostStatus, PulsePeer, PulseRequest } from './protocol.js';
import { full, type Incarnation, refusal, StopRequests, unknownHost } from './stop-requests.js';

export type ControlRequest = Extract<PulseRequest, { kind: 'control' }>;

export interface GrantingParts {
  /** Survives restarts of this process. */
  readonly record: Pick<PromiseRecord, 'renew'>;
  readonly counters: Counters;
  /** Never the same twice, over restarts too. */
  nextAckId(): bigint;
  send(peer: PulsePeer, packet: Packet): void;
  emit(event: PulseEvent): void;
  log(fields: object, text: string): void;
}

interface HostEntry {
  peer: PulsePeer;
  grants: HostGrants;
  longer: LongLease | null;
}

/** Of the stopped incarnations of one host only the newest few matter: older ones are superseded. */
const stoppedRemembered = 4;

/** The controller in this pulse: grants leases to hosts and tells when one lapsed. */
export class Granting {
  readonly #parts: GrantingParts;
  readonly #hosts = new Map<string, HostEntry>();
  readonly #stops = new StopRequests();
  #controller = '';
  #term: GrantTerm | undefined;
  /** Earliest wish of any host; may be early, never late. */
  #wakeNs: bigint | undefined;

  constructor(parts: GrantingParts) {
    this.#parts = parts;
  }

  get controlling(): boolean {
    return this.#term !== undefined;
  }
  get wakeNs(): bigint | undefined {
    return this.#wakeNs;
  }
  get leaseNs(): bigint | undefined {
    return this.#term?.leaseNs;
  }
  get stopped(): readonly Incarnation[] {
    return [...this.#hosts].flatMap(([host, { grants }]) =>
      grants.grants.flatMap(({ stopped, incarnation }) => (stopped ? [{ host, incarnation }] : [])),
    );
  }

  /**
   * From now on heartbeats of these hosts are answered.
   *
   * @throws {UnderstudyError} US_PULSE_OTHER_CONTROLLER, US_PULSE_RECORD
   */
  control(request: ControlRequest, nowNs: bigint): void {
    if (this.#controller !== '' && this.#controller !== request.controller) {
      throw new UnderstudyError({
        code: 'US_PULSE_OTHER_CONTROLLER',
        action: 'cannot act as controller',
        object: request.controller,
        cause: `this pulse is controller ${this.#controller}`,
        remedy: 'restart understudy-pulse to give this machine another name',
      });
    }
    this.#controller = request.controller;
    const { leaseMs, clockMarginPercent: marginPercent, longer = [] } = request;
    const promised = (ms: number) => promiseNs({ leaseNs: BigInt(ms) * 1_000_000n, marginPercent });
    const longestMs = longer.reduce((most, one) => Math.max(most, one.leaseMs), leaseMs);
    // On record before the first promise of that length is given.
    const { record } = this.#parts;
    const inheritedUntilNs = record.renew(promised(leaseMs), nowNs, promised(longestMs));
    const leaseNs = BigInt(leaseMs) * 1_000_000n;
    const sets = this.#setsAfter(request);
    this.#term = { inheritedUntilNs, controlled: true, leaseNs, marginPercent, longer: null, sets };
    this.#setHosts(request.hosts);
    for (const [host, entry] of this.#hosts) {
      const found = longer.find((one) => one.host === host);
      entry.longer =
        found === undefined
          ? null
          : { incarnation: found.incarnation, leaseNs: BigInt(found.leaseMs) * 1_000_000n };
    }
    for (const [host, incarnations] of newestStopped(request.stopped)) {
      for (const incarnation of incarnations) {
        this.#step(host, { kind: 'stop', incarnation, onlyIfLapsed: false }, nowNs);
      }
    }
    for (const { host, incarnation } of request.watched ?? []) {
      this.#step(host, { kind: 'watch', incarnation }, nowNs);
    }
  }

  /** An agent that is behind takes nothing back of what another one was sure of. */
  #setsAfter({ sets = { lowest: 0, newest: 0 } }: ControlRequest): GrantedSets {
    const before = this.#term?.sets ?? sets;
    return {
      lowest: Math.max(before.lowest, sets.lowest),
      newest: Math.max(before.newest, sets.newest),
    };
  }

  receive(packet: Packet, nowNs: bigint): void {
    const { counters } = this.#parts;
    if (this.#term === undefined) {
      counters.add('not-controlling');
      return;
    }
    if (packet.receiver !== this.#controller) {
      counters.add('misaddressed');
      return;
    }
    if (!this.#hosts.has(packet.sender)) {
      counters.add('unknown-host');
      return;
    }
    const { incarnation, nonce, seq, sentAtNs, ackId: echo, leaseNs: wishNs, set } = packet;
    const { ailments = noAilments } = packet;
    const ackId = this.#parts.nextAckId();
    const ids = { incarnation, nonce, seq, sentAtNs, echo, wishNs, set, ackId, ailments };
    this.#step(packet.sender, { kind: 'heartbeat', ...ids }, nowNs);
  }

  tick(nowNs: bigint): void {
    if (this.#wakeNs === undefined || nowNs < this.#wakeNs) return;
    this.#wakeNs = undefined;
    for (const host of this.#hosts.keys()) this.#step(host, { kind: 'tick' }, nowNs);
  }

  /** This process stood still: what waits in the socket is read before anybody is called silent. */
  stalled(nowNs: bigint): void {
    for (const host of this.#hosts.keys()) this.#step(host, { kind: 'stalled' }, nowNs);
  }

  /**
   * Stops acking one incarnation; resolves when no promise to it is left.
   *
   * @throws {UnderstudyError} US_PULSE_PROMISED, US_PULSE_NOT_CONTROLLING, US_PULSE_UNKNOWN_HOST,
   * US_PULSE_FULL, US_PULSE_RESUMED
   */
  stop(which: Incarnation, onlyIfLapsed: boolean, nowNs: bigint): Promise<void> {
    const { host, incarnation } = which;
    this.#mustKnow('stop acking', which);
    const inForce = this.#stops.wait(which);
    const reason = this.#step(host, { kind: 'stop', incarnation, onlyIfLapsed }, nowNs);
    if (reason === 'table-full') this.#stops.answer(which, full(which));
    return inForce;
  }

  /** @throws {UnderstudyError} US_PULSE_NOT_CONTROLLING, US_PULSE_UNKNOWN_HOST */
  resume(which: Incarnation, nowNs: bigint): void {
    const { host, incarnation } = which;
    this.#mustKnow('resume acking', which);
    this.#stops.answer(
      which,
      refusal('US_PULSE_RESUMED', 'stop acking', which, 'acks were resumed meanwhile', 'try again'),
    );
    this.#step(host, { kind: 'resume', incarnation }, nowNs);
  }

  status(nowNs: bigint): readonly PulseHostStatus[] {
    return [...this.#hosts].flatMap(([host, { grants }]) =>
      grants.grants.map((grant) => ({
        host,
        incarnation: grant.incarnation,
        lastAckAgoMs: grant.lastAckNs === null ? null : toMs(nowNs - grant.lastAckNs),
        lapsed: isLapsed(grant),
      })),
    );
  }

  /** Tells an agent that just came which lapses stand: the one before may not have voted yet. */
  retell(nowNs: bigint): void {
    for (const [host, { grants }] of this.#hosts) {
      for (const { incarnation, ailments } of grants.grants) {
        if (sameAilments(ailments, noAilments)) continue;
        this.#parts.emit({ kind: 'ails', host, incarnation, ...ailments });
      }
    }
    for (const { host, incarnation, lastAckAgoMs, lapsed } of this.status(nowNs)) {
      if (!lapsed) continue;
      const atMs = toMs(nowNs);
      this.#parts.emit({ kind: 'lapsed', host, incarnation, lastAckAgoMs, atMs });
    }
  }

  #setHosts(peers: readonly PulsePeer[]): void {
    const names = new Set(peers.map(({ name }) => name));
    for (const [host, { grants }] of this.#hosts) {
      if (names.has(host)) continue;
      this.#hosts.delete(host);
      for (const { incarnation } of grants.grants) {
        this.#stops.answer({ host, incarnation }, unknownHost({ host, incarnation }));
      }
    }
    for (const peer of peers) {
      const entry = this.#hosts.get(peer.name);
      if (entry === undefined) this.#hosts.set(peer.name, { peer, grants: noGrants, longer: null });
      else entry.peer = peer;
    }
  }

  #mustKnow(action: string, which: Incarnation): void {
    if (this.#term === undefined) {
      const cause = 'pulse has not been told the votes that stand in the store';
      throw refusal('US_PULSE_NOT_CONTROLLING', action, which, cause, 'send `control` first');
    }
    if (!this.#hosts.has(which.host)) {
      throw unknownHost(which);
    }
  }

  #step(host: string, event: GrantEvent, nowNs: bigint): string {
    const entry = this.#hosts.get(host);
    if (entry === undefined || this.#term === undefined) return 'unknown-host';
    const { longer } = entry;
    const term = longer === null ? this.#term : { ...this.#term, longer };
    const step = stepGrants(entry.grants, event, nowNs, term);
    entry.grants = step.state;
    if (event.kind === 'heartbeat') this.#parts.counters.add(step.reason);
    for (const output of step.outputs) this.#obey(entry.peer, output, nowNs);
    const wakeNs = grantsWakeNs(entry.grants);
    if (wakeNs !== undefined && (this.#wakeNs === undefined || wakeNs < this.#wakeNs)) {
      this.#wakeNs = wakeNs;
    }
    return step.reason;
  }

  #obey(peer: PulsePeer, output: GrantOutput, nowNs: bigint): void {
    const { emit, log, send } = this.#parts;
    const { incarnation } = output;
    const which = { host: peer.name, incarnation };
    switch (output.kind) {
      case 'answer': {
        const { answer, nonce, seq, sentAtNs, ackId, leaseNs } = output;
        const ids = { incarnation, nonce, seq, sentAtNs, ackId, leaseNs, set: takesAilments };
        send(peer, { type: answer, sender: this.#controller, receiver: peer.name, ...ids });
        return;
      }
      case 'lapsed': {
        const agoNs = output.lastAckAgoNs;
        const lastAckAgoMs = agoNs === null ? null : toMs(agoNs);
        if (output.report === 1) log({ ...which, lastAckAgoMs }, 'lease lapsed: promise ran out');
        emit({ kind: 'lapsed', ...which, lastAckAgoMs, atMs: toMs(nowNs) });
        return;
      }
      case 'renewed':
        log(which, 'lease renewed');
        emit({ kind: 'renewed', ...which });
        return;
      case 'ails':
        log({ ...which, ...output.ailments }, 'what it says of itself has changed');
        emit({ kind: 'ails', ...which, ...output.ailments });
        return;
      case 'heard':
        emit({ kind: 'heard', ...which, sinceMs: toMs(output.sinceNs), atMs: toMs(nowNs) });
        return;
      case 'stop-in-force':
        this.#stops.answer(which);
        return;
      case 'stop-refused': {
        const cause = `it came back: a promise runs for another ${toMs(output.leftNs).toFixed(0)} ms`;
        const remedy = 'wait for the next `lapsed`';
        this.#stops.answer(
          which,
          refusal('US_PULSE_PROMISED', 'stop acking', which, cause, remedy),
        );
      }
    }
  }
}

function newestStopped(stopped: readonly Incarnation[]): ReadonlyMap<string, readonly number[]> {
  const byHost = new Map<string, number[]>();
  for (const { host, incarnation } of stopped) {
    const known = byHost.get(host) ?? [];
    if (!known.includes(incarnation)) known.push(incarnation);
    known.sort((a, b) => a - b);
    byHost.set(host, known.slice(-stoppedRemembered));
  }
  return byHost;
}
