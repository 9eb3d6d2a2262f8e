import { isQuorum, majority } from '../electorate.js';
import type { HolderEvent, HolderOutput, HolderReason, HolderStep } from './holder-events.js';
import { earlier, later } from './instants.js';
import { allRules, type Rules } from './rules.js';

/**
 * The holder's side of a lease: a host's right to be on its networks.
 *
 * Every heartbeat carries the time `s` at which it was sent, read before sending on this host's
 * boot clock. A controller that acknowledges it promises not to vote against this incarnation for
 * one lease, counted from when it *received* the heartbeat; the holder counts from `s`. So the
 * holder always lapses first, however slow the network is.
 */
export interface HolderTerms {
  readonly incarnation: number;
  /** Fresh at each start of pulse (32 hex digits): acks of an earlier start are void. */
  readonly nonce: string;
  /** Number of the set of controllers under which this lease is counted; heartbeats carry it. */
  readonly set: number;
  /**
   * The sets whose majorities it needs, each of distinct names: one, or two while one replaces the
   * other. A controller of both counts in both.
   */
  readonly controllers: readonly (readonly string[])[];
  readonly heartbeatNs: bigint;
  readonly leaseNs: bigint;
}

export interface HolderState {
  readonly terms: HolderTerms;
  /** Number of the last heartbeat sent; 0n before the first. */
  readonly seq: bigint;
  /** Heartbeats whose acks are still waited for, oldest first; bounded. */
  readonly sent: readonly Sent[];
  readonly nextHeartbeatNs: bigint;
  readonly peers: ReadonlyMap<string, ControllerAnswers>;
  /** End of the lease on this host's boot clock; null before the first majority. Only ever raised. */
  readonly deadlineNs: bigint | null;
  /** Whether the lease was held when last looked at: only for telling about changes. */
  readonly held: boolean;
  /** A longer lease that is asked for, until pulse was restarted; 0n for none. */
  readonly wishNs: bigint;
  /** No heartbeats go out: the lease is let run out. */
  readonly resting: boolean;
  /** When it was last told that a majority refuses; null for never, or not any more. */
  readonly refusedToldNs: bigint | null;
}

interface Sent {
  readonly seq: bigint;
  readonly sentAtNs: bigint;
}

/** What one controller answered so far. */
interface ControllerAnswers {
  /** Newest heartbeat that it answered in any way; older answers say nothing new. */
  readonly answeredSeq: bigint;
  /** End of the lease as far as this controller's newest ack carries it; null without one. */
  readonly carriesUntilNs: bigint | null;
  /** Id of its newest answer, echoed by the next heartbeat; 0n for none. */
  readonly echo: bigint;
  readonly refused: boolean;
  /** When a challenge of this controller was last answered out of turn. */
  readonly outOfTurnNs: bigint | null;
  /** Its newest answer says that it takes what ails this host. */
  readonly takesAilments: boolean;
}

/** Answers to heartbeats older than these could carry no lease any more. */
const rememberedHeartbeats = 64;

/** A holder that holds nothing: of a new incarnation, or of a pulse that just started. */
export function startHolder(terms: HolderTerms, nowNs: bigint): HolderState {
  return {
    terms,
    seq: 0n,
    sent: [],
    nextHeartbeatNs: nowNs,
    peers: new Map(
      terms.controllers.flat().map((name) => [
        name,
        {
          answeredSeq: 0n,
          carriesUntilNs: null,
          echo: 0n,
          refused: false,
          outOfTurnNs: null,
          takesAilments: false,
        },
      ]),
    ),
    deadlineNs: null,
    held: false,
    wishNs: 0n,
    resting: false,
    refusedToldNs: null,
  };
}

/** Whether this host may be on its networks. */
export function isEffective(
  state: Pick<HolderState, 'deadlineNs'>,
  nowNs: bigint,
  rules: Rules = allRules,
): boolean {
  if (state.deadlineNs === null) return false;
  return rules.strictlyBefore ? nowNs < state.deadlineNs : nowNs <= state.deadlineNs;
}

/** When to call again with a tick, if nothing else happens before. */
export function holderWakeNs(state: HolderState): bigint {
  const { deadlineNs, held, nextHeartbeatNs } = state;
  return held && deadlineNs !== null && deadlineNs < nextHeartbeatNs ? deadlineNs : nextHeartbeatNs;
}

/** `nowNs` is also the send time of the heartbeats that come out: read it before sending them. */
export function stepHolder(
  before: HolderState,
  event: HolderEvent,
  nowNs: bigint,
  rules: Rules = allRules,
): HolderStep {
  // A lapse that passed unseen (the process was stopped) is told before what came after it.
  const lapsed = noticeLapse(before, nowNs, rules);
  const step = onEvent(lapsed.state, event, nowNs, rules);
  return { ...step, outputs: [...lapsed.outputs, ...step.outputs] };
}

function onEvent(state: HolderState, event: HolderEvent, nowNs: bigint, rules: Rules): HolderStep {
  switch (event.kind) {
    case 'tick':
      return onTick(state, nowNs);
    case 'wish':
      return { state: { ...state, wishNs: event.leaseNs }, outputs: [], reason: 'wished' };
    case 'rest':
      return { state: { ...state, resting: event.resting }, outputs: [], reason: 'resting' };
    case 'answer':
      return onAnswer(state, event, nowNs, rules);
  }
}

function noticeLapse(state: HolderState, nowNs: bigint, rules: Rules): Omit<HolderStep, 'reason'> {
  if (!state.held || state.deadlineNs === null || isEffective(state, nowNs, rules)) {
    return { state, outputs: [] };
  }
  return {
    state: { ...state, held: false },
    outputs: [{ kind: 'lease-lapsed', deadlineNs: state.deadlineNs }],
  };
}

function onTick(state: HolderState, nowNs: bigint): HolderStep {
  if (nowNs < state.nextHeartbeatNs) return { state, outputs: [], reason: 'nothing-due' };
  const { heartbeatNs } = state.terms;
  // The next one lies on the same grid: no drift, and after a stall one heartbeat, not a burst.
  const missed = (nowNs - state.nextHeartbeatNs) / heartbeatNs;
  const nextHeartbeatNs = state.nextHeartbeatNs + (missed + 1n) * heartbeatNs;
  if (state.resting) {
    return { state: { ...state, nextHeartbeatNs }, outputs: [], reason: 'resting' };
  }
  const numbered = numberHeartbeat({ ...state, nextHeartbeatNs }, nowNs);
  return {
    state: numbered,
    outputs: [...numbered.peers.keys()].map((to) => heartbeatTo(numbered, to, nowNs)),
    reason: 'heartbeat',
  };
}

function numberHeartbeat(state: HolderState, sentAtNs: bigint): HolderState {
  const seq = state.seq + 1n;
  const sent = [...state.sent.slice(-(rememberedHeartbeats - 1)), { seq, sentAtNs }];
  return { ...state, seq, sent };
}

function heartbeatTo(state: HolderState, to: string, sentAtNs: bigint): HolderOutput {
  const { seq, wishNs, terms } = state;
  const echo = state.peers.get(to)?.echo ?? 0n;
  return { kind: 'heartbeat', to, seq, sentAtNs, echo, wishNs, set: terms.set };
}

type Answer = Extract<HolderEvent, { kind: 'answer' }>;

function onAnswer(state: HolderState, answer: Answer, nowNs: bigint, rules: Rules): HolderStep {
  const { terms, peers, sent } = state;
  const ignored = (reason: HolderReason): HolderStep => ({ state, outputs: [], reason });
  const peer = peers.get(answer.from);
  if (peer === undefined) return ignored('answer-of-unknown-controller');
  if (answer.incarnation !== terms.incarnation) return ignored('answer-to-other-incarnation');
  if (answer.nonce !== terms.nonce && rules.ownNonceOnly) return ignored('answer-to-other-start');
  // `s` is looked up here by number, never taken from the packet. Mostly it is the newest.
  const heartbeat = sent.findLast(({ seq }) => seq === answer.seq);
  if (heartbeat === undefined) return ignored('answer-to-unknown-heartbeat');
  if (answer.seq <= peer.answeredSeq) return ignored('answer-not-newest');
  const answered: ControllerAnswers = {
    ...peer,
    answeredSeq: answer.seq,
    refused: false,
    takesAilments: answer.takesAilments === true,
  };
  switch (answer.answer) {
    case 'ack': {
      const leaseNs = earlier(answer.leaseNs, later(terms.leaseNs, state.wishNs));
      const fromNs = rules.countFromSending ? heartbeat.sentAtNs : nowNs;
      const acked = { ...answered, carriesUntilNs: fromNs + leaseNs, echo: answer.ackId };
      return raiseDeadline(withPeer(state, answer.from, acked), nowNs, rules);
    }
    case 'challenge':
      return answerChallenge(state, answer.from, { ...answered, echo: answer.ackId }, nowNs);
    case 'refuse': {
      // Echoed like an ack: the controller learns that this host is alive and hears it.
      const refused = { ...answered, refused: true, echo: answer.ackId };
      return countRefusals(withPeer(state, answer.from, refused), nowNs);
    }
  }
}

function withPeer(state: HolderState, name: string, peer: ControllerAnswers): HolderState {
  return { ...state, peers: new Map(state.peers).set(name, peer) };
}

/** The deadline is where the lease is carried in each of the sets. */
function raiseDeadline(state: HolderState, nowNs: bigint, rules: Rules): HolderStep {
  const { controllers } = state.terms;
  const counting = rules.leaseOfBothSets ? controllers : controllers.slice(0, 1);
  const ends = counting.map((names) => carriedUntilNs(state, names, rules));
  const deadlineNs = ends.reduce((least, end) =>
    least === undefined || end === undefined ? undefined : earlier(least, end),
  );
  if (deadlineNs === undefined || (state.deadlineNs !== null && deadlineNs <= state.deadlineNs)) {
    return { state, outputs: [], reason: 'acked' };
  }
  const raised = { ...state, deadlineNs };
  const outputs: HolderOutput[] = [{ kind: 'raise', deadlineNs }];
  const held = isEffective(raised, nowNs, rules);
  if (held && !state.held) outputs.push({ kind: 'lease-held', deadlineNs });
  return { state: { ...raised, held }, outputs, reason: 'acked' };
}

/** Where the majority-th newest ack of one set carries the lease: that many reach so far. */
function carriedUntilNs(
  { peers }: HolderState,
  names: readonly string[],
  rules: Rules,
): bigint | undefined {
  const reached = names
    .map((name) => peers.get(name)?.carriesUntilNs ?? null)
    .filter((untilNs) => untilNs !== null)
    .sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  const all = names.length;
  const needed = rules.majority ? majority(all) : Math.floor(all / 2);
  return reached[rules.distinctControllers ? needed - 1 : 0];
}

/**
 * A challenge is echoed at once, not at the next heartbeat: a controller that restarted promises
 * one round trip later. At most twice a heartbeat, so that a round trip longer than the lease, where
 * every echo comes too late, does not turn into a ball game.
 */
function answerChallenge(
  state: HolderState,
  to: string,
  peer: ControllerAnswers,
  nowNs: bigint,
): HolderStep {
  const { outOfTurnNs } = peer;
  const often = outOfTurnNs !== null && nowNs - outOfTurnNs < state.terms.heartbeatNs / 2n;
  if (often || state.resting) {
    return { state: withPeer(state, to, peer), outputs: [], reason: 'challenged' };
  }
  const next = numberHeartbeat(withPeer(state, to, { ...peer, outOfTurnNs: nowNs }), nowNs);
  return { state: next, outputs: [heartbeatTo(next, to, nowNs)], reason: 'challenged' };
}

function countRefusals(state: HolderState, nowNs: bigint): HolderStep {
  const { refusedToldNs: toldNs, terms } = state;
  const told = toldNs !== null && nowNs - toldNs < terms.leaseNs;
  if (told || !isRefused(state)) return { state, outputs: [], reason: 'refused' };
  return {
    state: { ...state, refusedToldNs: nowNs },
    outputs: [{ kind: 'refused' }],
    reason: 'refused',
  };
}

/** A controller that has answered none of so many heartbeats may have been replaced by an older version. */
const unansweredHeartbeats = 4n;

/** Whether this controller takes a heartbeat that says what ails this host; others would drop it. */
export function hearsAilments({ peers, seq }: HolderState, name: string): boolean {
  const peer = peers.get(name);
  return peer?.takesAilments === true && seq - peer.answeredSeq <= unansweredHeartbeats;
}

/** Whether the newest answers of a majority of controllers (of each set) are refusals. */
export function isRefused({ peers, terms }: HolderState): boolean {
  return isQuorum(terms.controllers, (name) => peers.get(name)?.refused === true);
}
