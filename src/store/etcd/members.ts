import { status } from '@grpc/grpc-js';
import { messageOf } from '../../errors.js';
import { leastPatience, type StorePatience } from '../patience.js';
import { abortReason, refused, unreachable } from '../refusals.js';
import { onAbort, pause, type Timers } from '../timers.js';
import { inWords } from '../wording.js';
import type { Member } from './member.js';

const firstPenaltyMs = 100;
const longestPenaltyMs = 2_000;
/** Pause after a round in which every member failed: a refused connection costs no time itself. */
const roundPauseMs = 25;

/** As many failures in a row speak for a connection that leads nowhere. */
const failuresPerConnection = 3;

export interface MembersCallOptions {
  readonly budgetMs?: number | undefined;
  /** Any of them calls the call off. */
  readonly signals?: readonly AbortSignal[];
}

interface Standing {
  readonly member: Member;
  failures: number;
  /** When its connection was made anew. */
  connectedMs: number;
  /** Asked before then only when no better member is left. */
  penaltyUntilMs: number;
}

/** All members of one cluster: whom to ask, and whom to ask next when that fails. */
export class Members {
  readonly #standings: readonly Standing[];
  readonly #timers: Timers;
  #lastGood: Member | undefined;
  #patience = leastPatience;

  constructor(endpoints: readonly string[], timers: Timers, connect: (endpoint: string) => Member) {
    this.#standings = endpoints.map((endpoint) => ({
      member: connect(endpoint),
      failures: 0,
      connectedMs: Number.NEGATIVE_INFINITY,
      penaltyUntilMs: Number.NEGATIVE_INFINITY,
    }));
    this.#timers = timers;
  }

  get patience(): StorePatience {
    return this.#patience;
  }

  /** Of calls and streams from now on; connections are made anew if theirs is another. */
  suit(patience: StorePatience): void {
    const { keepaliveMs } = this.#patience;
    this.#patience = patience;
    if (patience.keepaliveMs === keepaliveMs) return;
    for (const { member } of this.#standings) member.reconnect(patience.keepaliveMs);
  }

  /**
   * Tries member after member until one answers. `attempt` gets the member and the try's deadline.
   *
   * @throws US_STORE_UNREACHABLE at the end of the budget: what was asked may have been done;
   *   US_STORE_REFUSED when a member understood and said no.
   */
  async call<T>(
    what: { readonly action: string; readonly object: string },
    options: MembersCallOptions,
    attempt: (member: Member, deadlineMs: number) => Promise<T>,
  ): Promise<T> {
    const { tryMs, longestTryMs } = this.#patience;
    const { budgetMs = this.#patience.budgetMs, signals = [] } = options;
    const endMs = this.#timers.nowMs() + budgetMs;
    const failures = new Map<string, string>();
    let last: unknown;
    for (let round = 0; ; round++) {
      const untried = new Set(this.#standings);
      for (let standing = this.#best(untried); standing; standing = this.#best(untried)) {
        throwIfAborted(signals);
        const beganMs = this.#timers.nowMs();
        const leftMs = endMs - beganMs;
        if (leftMs <= 0) throw this.#unreachable(what, budgetMs, failures, last);
        untried.delete(standing);
        const deadlineMs = Math.min(leftMs, longestTryMs, tryMs * 2 ** Math.max(0, round - 1));
        try {
          const answer = await orAbort(attempt(standing.member, deadlineMs), signals);
          this.#good(standing);
          return answer;
        } catch (thrown) {
          throwIfAborted(signals);
          if (!isWorthAnotherMember(thrown)) throw refused(what.action, what.object, thrown);
          this.#bad(standing, beganMs);
          // What the end of the budget cut short says nothing; what was heard before does.
          const cutShort = deadlineMs === leftMs && codeOf(thrown) === status.DEADLINE_EXCEEDED;
          if (cutShort && failures.has(standing.member.endpoint)) continue;
          last = thrown;
          failures.set(standing.member.endpoint, inWords(thrown));
        }
      }
      await pause(this.#timers, roundPauseMs, ...signals);
    }
  }

  /** The member for a new stream: another than `avoid` if there is one. */
  pick(avoid?: Member): Member {
    const others = this.#standings.filter(({ member }) => member !== avoid);
    const best = this.#best(new Set(others)) ?? this.#standings[0];
    if (best === undefined) throw new Error('a store without endpoints');
    return best.member;
  }

  /** A stream on this member failed: others are better for a while. */
  failed(member: Member): void {
    for (const standing of this.#standings) {
      if (standing.member === member) this.#bad(standing, this.#timers.nowMs());
    }
  }

  close(): void {
    for (const { member } of this.#standings) member.close();
  }

  /** Unpunished ones first, the last good one before the others; else whose penalty ends first. */
  #best(candidates: ReadonlySet<Standing>): Standing | undefined {
    const nowMs = this.#timers.nowMs();
    const rank = (standing: Standing) => {
      if (standing.penaltyUntilMs > nowMs) return standing.penaltyUntilMs;
      return standing.member === this.#lastGood ? -2 : -1;
    };
    return [...candidates].sort((a, b) => rank(a) - rank(b))[0];
  }

  #good(standing: Standing): void {
    standing.failures = 0;
    standing.penaltyUntilMs = Number.NEGATIVE_INFINITY;
    this.#lastGood = standing.member;
  }

  /**
   * A try that began on an earlier connection says nothing of this one. Else many calls that run out of
   * time at once would drop each new connection, and with it whoever asks again.
   */
  #bad(standing: Standing, beganMs: number): void {
    const nowMs = this.#timers.nowMs();
    const penaltyMs = Math.min(longestPenaltyMs, firstPenaltyMs * 2 ** standing.failures++);
    standing.penaltyUntilMs = nowMs + penaltyMs;
    if (this.#lastGood === standing.member) this.#lastGood = undefined;
    if (standing.failures % failuresPerConnection !== 0 || beganMs < standing.connectedMs) return;
    standing.connectedMs = nowMs;
    standing.member.reconnect(this.#patience.keepaliveMs);
  }

  #unreachable(
    { action, object }: { readonly action: string; readonly object: string },
    budgetMs: number,
    failures: ReadonlyMap<string, string>,
    last: unknown,
  ) {
    const each = [...failures].map(([endpoint, message]) => `${endpoint}: ${message}`).join('; ');
    const cause = `no etcd member answered within ${budgetMs} ms (${each})`;
    return unreachable(action, object, cause, last);
  }
}

/** Codes with which etcd refuses for good; all else another member, or a later try, may answer. */
const final: ReadonlySet<number> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.UNAUTHENTICATED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
]);

function isWorthAnotherMember(thrown: unknown): boolean {
  const code = codeOf(thrown);
  if (code === undefined) return true;
  // One code for "too many requests", which passes, and for "database space exceeded", which stays.
  if (code === status.RESOURCE_EXHAUSTED) return /too many requests/.test(messageOf(thrown));
  return !final.has(code);
}

/** gRPC's status of an error; undefined for one that is not gRPC's. */
export function codeOf(thrown: unknown): number | undefined {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'number' ? code : undefined;
}

function throwIfAborted(signals: readonly AbortSignal[]): void {
  for (const signal of signals) if (signal.aborted) throw abortReason(signal);
}

function orAbort<T>(answer: Promise<T>, signals: readonly AbortSignal[]): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = onAbort(signals, (signal) => reject(abortReason(signal)));
    answer.then(resolve, reject).finally(stop);
  });
}
