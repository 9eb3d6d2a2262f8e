import { noAilments, sameAilments } from './ailments.js';
import type { GrantEvent, GrantOutput, GrantReason, GrantStep } from './grant-events.js';
import {
  findGrant,
  type Grant,
  type GrantTerm,
  type Hearing,
  type HostGrants,
  longestNs,
  promiseNs,
  unheardGraceNs,
  withGrant,
} from './grants.js';
import { earlier, later } from './instants.js';
import { isLapsed, onStalled, onTick } from './lapses.js';
import { allRules, type Rules } from './rules.js';

type Heartbeat = Extract<GrantEvent, { kind: 'heartbeat' }>;

/** Own answers remembered for echoes: more than are sent within one lease at 10 ms heartbeats. */
const rememberedAnswers = 32;
/**
 * The granting side of a lease: a controller's pulse, for one host.
 *
 * An ack is a promise not to vote against this incarnation until receipt + lease × (1 + margin) on
 * the controller's own clock. It is given only for a heartbeat that is newer than all before and
 * that echoes an answer of this very controller from within one lease. Without the echo a host whose
 * heartbeats arrive but which gets no acks would be dark with nobody voting, and replayed
 * heartbeats of a dead host would hold up its failover.
 */
export function stepGrants(
  host: HostGrants,
  event: GrantEvent,
  nowNs: bigint,
  term: GrantTerm,
  rules: Rules = allRules,
): GrantStep {
  switch (event.kind) {
    case 'heartbeat':
      return onHeartbeat(host, event, nowNs, term, rules);
    case 'watch':
      return onWatch(host, event.incarnation, nowNs, term, rules);
    case 'stop':
      return onStop(host, event, nowNs, term, rules);
    case 'resume':
      return onResume(host, event.incarnation, nowNs, term);
    case 'stalled':
      return onStalled(host, nowNs, term);
    case 'tick':
      return onTick(host, nowNs, term, rules);
  }
}

/**
 * An incarnation of which this process knows nothing. The process before it may have promised it
 * anything up to its end, so nothing counts before one promise after the start; counted from now,
 * which is later, for a host that was taken out of the configuration and came back.
 */
function newGrant(incarnation: number, nowNs: bigint, term: GrantTerm, rules: Rules): Grant {
  const { waitAfterStart } = rules;
  const leaseNs = rules.rememberLonger ? longestNs(term, incarnation) : term.leaseNs;
  const promisedUntilNs = later(nowNs + promiseNs({ ...term, leaseNs }), term.inheritedUntilNs);
  return {
    incarnation,
    stopped: false,
    hearing: null,
    stopAwaited: false,
    nonce: '',
    seq: 0n,
    sentAtNs: -1n,
    answers: [],
    lastAckNs: null,
    ailments: noAilments,
    promisedUntilNs: waitAfterStart ? promisedUntilNs : nowNs,
    reportFromNs: waitAfterStart ? nowNs + unheardGraceNs(term) : nowNs,
    reports: 0,
    nextReportNs: 0n,
  };
}

function onHeartbeat(
  host: HostGrants,
  heartbeat: Heartbeat,
  nowNs: bigint,
  term: GrantTerm,
  rules: Rules,
): GrantStep {
  const ignored = (reason: GrantReason): GrantStep => ({ state: host, outputs: [], reason });
  if (!term.controlled && rules.ackOnlyWhenControlled) return ignored('not-controlling');
  const { incarnation, set } = heartbeat;
  const { lowest, newest } = term.sets;
  if (set < lowest && rules.refuseOldSet) return ignored('set-refused');
  if (set > newest && rules.readSetFirst) return ignored('set-not-read');
  const known = findGrant(host, incarnation);
  if (incarnation < host.newest && rules.refuseStopped) {
    const outputs = [answer('refuse', heartbeat, term)];
    const reason = known?.stopped ? 'refused-stopped' : 'refused-superseded';
    return { state: host, outputs, reason };
  }
  const grant = known ?? newGrant(incarnation, nowNs, term, rules);
  if (!isNewer(grant, heartbeat) && rules.newerOnly) return ignored('heartbeat-not-newer');
  const heard = hear(grant, heartbeat, nowNs, term);
  const echoes = heard.answers.some(({ ackId }) => ackId === heartbeat.echo);
  const answered = remember(heard, heartbeat.ackId, nowNs);
  if (heard.stopped && rules.refuseStopped) {
    return refuse(host, answered, heartbeat, echoes, nowNs, term);
  }
  if (echoes || !rules.echo) return promise(host, answered, heartbeat, nowNs, term, rules);
  const state = withGrant(host, answered, nowNs);
  if (state === undefined) return ignored('table-full');
  return { state, outputs: [answer('challenge', heartbeat, term)], reason: 'challenged' };
}

/**
 * `s` is the host's boot clock and grows through restarts of its pulse: one incarnation is one
 * boot. So a heartbeat of an earlier start, delayed or replayed, is never newer than the first of
 * a later one, and cannot displace it.
 */
function isNewer(grant: Grant, heartbeat: Heartbeat): boolean {
  if (heartbeat.sentAtNs <= grant.sentAtNs) return false;
  return heartbeat.nonce !== grant.nonce || heartbeat.seq > grant.seq;
}

/** Notes the heartbeat. A new start of pulse has received none of our answers yet. */
function hear(grant: Grant, heartbeat: Heartbeat, nowNs: bigint, term: GrantTerm): Grant {
  const { nonce, seq, sentAtNs } = heartbeat;
  const answers =
    nonce === grant.nonce ? grant.answers.filter(({ atNs }) => nowNs - atNs <= term.leaseNs) : [];
  return { ...grant, nonce, seq, sentAtNs, answers };
}

function remember(grant: Grant, ackId: bigint, atNs: bigint): Grant {
  return {
    ...grant,
    answers: [...grant.answers.slice(-(rememberedAnswers - 1)), { ackId, atNs }],
  };
}

/**
 * A refusal is answered and may be echoed like any answer. The echo proves that the host is alive
 * now and hears this controller, which is what a vote may be withdrawn for; a replay proves nothing.
 */
function refuse(
  host: HostGrants,
  grant: Grant,
  heartbeat: Heartbeat,
  echoes: boolean,
  nowNs: bigint,
  term: GrantTerm,
): GrantStep {
  const outputs: GrantOutput[] = [answer('refuse', heartbeat, term)];
  const hearing = echoes ? goOnHearing(grant.hearing, nowNs, term) : grant.hearing;
  if (echoes && hearing?.toldNs === nowNs) {
    outputs.push({ kind: 'heard', incarnation: grant.incarnation, sinceNs: hearing.sinceNs });
  }
  const state = withGrant(host, { ...grant, hearing }, nowNs) ?? host;
  return { state, outputs, reason: 'refused-stopped' };
}

function goOnHearing(before: Hearing | null, nowNs: bigint, { leaseNs }: GrantTerm): Hearing {
  if (before === null || nowNs - before.lastNs > leaseNs) {
    return { sinceNs: nowNs, lastNs: nowNs, toldNs: nowNs };
  }
  const toldNs = nowNs - before.toldNs >= leaseNs ? nowNs : before.toldNs;
  return { ...before, lastNs: nowNs, toldNs };
}

function promise(
  host: HostGrants,
  grant: Grant,
  heartbeat: Heartbeat,
  nowNs: bigint,
  term: GrantTerm,
  rules: Rules,
): GrantStep {
  const fromNs = rules.promiseFromReceipt ? nowNs : heartbeat.sentAtNs;
  const longest = longestNs(term, grant.incarnation);
  const leaseNs = earlier(later(heartbeat.wishNs, term.leaseNs), longest);
  const granted = { ...term, leaseNs };
  const untilNs = fromNs + (rules.margin ? promiseNs(granted) : leaseNs);
  const { ailments = noAilments } = heartbeat;
  const promised: Grant = {
    ...grant,
    lastAckNs: nowNs,
    ailments,
    promisedUntilNs: later(grant.promisedUntilNs, untilNs),
    reportFromNs: rules.promiseFromReceipt ? 0n : untilNs,
    reports: 0,
  };
  const state = withGrant(host, promised, nowNs);
  if (state === undefined) return { state: host, outputs: [], reason: 'table-full' };
  const outputs: GrantOutput[] = [answer('ack', heartbeat, granted)];
  const { incarnation } = grant;
  if (isLapsed(grant)) outputs.push({ kind: 'renewed', incarnation });
  if (!sameAilments(ailments, grant.ailments))
    outputs.push({ kind: 'ails', incarnation, ailments });
  return { state, outputs, reason: 'promised' };
}

function answer(kind: 'ack' | 'challenge' | 'refuse', to: Heartbeat, term: GrantTerm): GrantOutput {
  const { incarnation, nonce, seq, sentAtNs, ackId } = to;
  const { leaseNs } = term;
  return { kind: 'answer', answer: kind, incarnation, nonce, seq, sentAtNs, ackId, leaseNs };
}

function onWatch(
  host: HostGrants,
  incarnation: number,
  nowNs: bigint,
  term: GrantTerm,
  rules: Rules,
): GrantStep {
  if (findGrant(host, incarnation) !== undefined) {
    return { state: host, outputs: [], reason: 'watched' };
  }
  const state = withGrant(host, newGrant(incarnation, nowNs, term, rules), nowNs);
  if (state === undefined) return { state: host, outputs: [], reason: 'table-full' };
  return { state, outputs: [], reason: 'watched' };
}

function onStop(
  host: HostGrants,
  event: Extract<GrantEvent, { kind: 'stop' }>,
  nowNs: bigint,
  term: GrantTerm,
  rules: Rules,
): GrantStep {
  const { incarnation, onlyIfLapsed } = event;
  const grant = findGrant(host, incarnation) ?? newGrant(incarnation, nowNs, term, rules);
  const leftNs = grant.promisedUntilNs - nowNs;
  const clear = leftNs <= 0n || !rules.stopAfterPromise;
  if (onlyIfLapsed && !clear && !grant.stopped) {
    const outputs: GrantOutput[] = [{ kind: 'stop-refused', incarnation, leftNs }];
    return { state: host, outputs, reason: 'still-promised' };
  }
  const hearing = grant.stopped ? grant.hearing : null;
  const stopped = { ...grant, stopped: true, stopAwaited: !clear, hearing };
  const state = withGrant(host, stopped, nowNs);
  if (state === undefined) return { state: host, outputs: [], reason: 'table-full' };
  const outputs: GrantOutput[] = clear ? [{ kind: 'stop-in-force', incarnation }] : [];
  return { state, outputs, reason: 'stopped' };
}

function onResume(
  host: HostGrants,
  incarnation: number,
  nowNs: bigint,
  term: GrantTerm,
): GrantStep {
  const grant = findGrant(host, incarnation);
  if (grant === undefined || !grant.stopped) return { state: host, outputs: [], reason: 'resumed' };
  const graceUntilNs = nowNs + unheardGraceNs(term);
  const resumed: Grant = {
    ...grant,
    stopped: false,
    hearing: null,
    ailments: noAilments,
    stopAwaited: false,
    answers: [],
    reportFromNs: graceUntilNs,
    nextReportNs: graceUntilNs,
  };
  const state = withGrant(host, resumed, nowNs) ?? host;
  return { state, outputs: [], reason: 'resumed' };
}
