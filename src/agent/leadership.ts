import { commitsWithVote } from '../control/closing.js';
import { controllersChange, decideChange, notDriving } from '../control/controllers-change.js';
import { type Told, tellStuck } from '../control/drains.js';
import { electorateOf, electorsOf } from '../control/electorate.js';
import { type LeavingState, leaveFailing } from '../control/failing.js';
import {
  type Circumstances,
  type Commit,
  decideFailovers,
  type FailoverState,
  initialFailoverState,
} from '../control/failover.js';
import { decideCallingOff, noMoves } from '../control/moving.js';
import type { Liveness } from '../control/placement.js';
import type { VoteRecord } from '../control/records.js';
import { type Rewrite, stays } from '../control/rewrites.js';
import { decideStewardship, type Stewardship } from '../control/stewardship.js';
import { roleId } from '../control/view.js';
import { stuckText } from '../control/waiting.js';
import type { PowerAdapter } from '../fencing/types.js';
import type { Timers } from '../store/timers.js';
import type { Compare, Store } from '../store/types.js';
import { atMost, mostWrites } from './at-most.js';
import type { Clock } from './clock.js';
import type { ClusterWatch } from './cluster-watch.js';
import { Housekeeping } from './housekeeping.js';
import type { Journal } from './journal.js';
import { type Log, Loop } from './loop.js';
import { PowerFencing } from './power-fencing.js';
import { commitTransaction, finalTransaction, rewriteTransaction } from './transactions.js';

/**
 * What a controller decides for the cluster: failovers (any controller, the leader first), and, in
 * office only, placements and drains. The decisions are src/control's; this carries them out.
 */
export class Leadership {
  readonly #parts: LeadershipParts;
  readonly #failovers: Loop;
  readonly #stewardship: Loop;
  readonly #housekeeping: Housekeeping;
  readonly #power: PowerFencing;
  readonly #held = new Map<string, string>();
  #stuck: Told = new Map();
  readonly #change: Loop;
  #drive = notDriving;
  #toldOfChange = '';
  #moves = noMoves;
  #leaving: LeavingState = new Map();
  #state: FailoverState = initialFailoverState;
  #office: { readonly guard: Compare; readonly sinceMs: number } | undefined;

  constructor(parts: LeadershipParts) {
    this.#parts = parts;
    this.#failovers = new Loop('failover', parts, () => this.#failOver());
    this.#housekeeping = new Housekeeping(parts.store, parts);
    this.#power = new PowerFencing(parts);
    this.#stewardship = new Loop('stewardship', parts, () => this.#tend());
    this.#change = new Loop('change of controllers', parts, () => this.#driveChange());
  }

  start(signal: AbortSignal): void {
    const { store, host, watch, journal, clock } = this.#parts;
    let standing: AbortController | undefined;
    watch.onChange(() => {
      if (standing !== undefined && !this.#isController) {
        standing.abort();
        standing = undefined;
      } else if (standing === undefined && this.#isController) {
        standing = new AbortController();
        store.campaign(
          'leader',
          host,
          {
            elected: (guard) => {
              this.#office = { guard, sinceMs: clock.bootMs() };
              this.#housekeeping.begin(guard);
              this.#power.begin(guard);
              journal.event('leader', host, `${host} was elected leader`);
              this.look();
            },
            lost: (reason) => {
              this.#office = undefined;
              this.#drive = notDriving;
              this.#moves = noMoves;
              this.#leaving = new Map();
              this.#housekeeping.end();
              this.#power.end();
              journal.event('leader', host, `${host} is leader no longer: ${reason}`);
            },
          },
          AbortSignal.any([signal, standing.signal]),
        );
      }
      this.look();
    });
  }

  /** Something that decisions rest on has changed. */
  look(): void {
    this.#failovers.trigger();
    if (this.#office === undefined) return;
    this.#stewardship.trigger();
    this.#change.trigger();
    this.#power.look();
  }

  /** One of those whose votes count now: of the old ones too, while they are replaced. */
  get #isController(): boolean {
    const record = this.#parts.watch.view.config?.value;
    return record !== undefined && electorsOf(electorateOf(record)).includes(this.#parts.host);
  }

  async stop(): Promise<void> {
    await Promise.all([
      this.#failovers.stop(),
      this.#stewardship.stop(),
      this.#change.stop(),
      this.#housekeeping.stop(),
      this.#power.stop(),
    ]);
  }

  async #failOver(): Promise<void> {
    const { watch, clock, store } = this.#parts;
    if (!this.#isController) return;
    const decided = decideFailovers(this.#state, watch.view, this.#circumstances());
    this.#state = decided.state;
    if (decided.wakeAtMs !== undefined) {
      this.#failovers.triggerIn(decided.wakeAtMs - clock.bootMs());
    }
    await atMost(mostWrites, decided.verdicts, async (verdict) => {
      const id = roleId(verdict.role);
      if (verdict.kind === 'hold') {
        if (verdict.reason !== 'not-my-turn') this.#hold(id, verdict.reason);
        return;
      }
      this.#held.delete(id);
      // Of hundreds of roles most wait for their turn, and another controller commits them meanwhile.
      if (watch.view.assignments.get(id)?.revision !== verdict.commit.assignmentRevision) return;
      const transaction = commitTransaction(verdict.commit);
      const result = await store.transact(transaction);
      if (result.done) {
        watch.learn(transaction.write, result.revision);
        this.committed(verdict.commit);
      }
    });
  }

  /** What may be committed in the transaction of this controller's own vote. */
  commitsWith(
    which: { readonly host: string; readonly incarnation: number },
    vote: VoteRecord,
  ): readonly Commit[] {
    return commitsWithVote(this.#parts.watch.view, which, vote, this.#circumstances());
  }

  committed({ role, from, next }: Commit): void {
    const text = `${from.host} → ${next.host ?? 'nobody'}, epoch ${next.epoch}: ${next.reason}`;
    this.#held.delete(roleId(role));
    this.#parts.journal.event('failover', role.name, text);
  }

  async #tend(): Promise<void> {
    const { watch, clock } = this.#parts;
    const office = this.#office;
    if (office === undefined) return;
    const nowMs = clock.bootMs();
    const called = decideCallingOff(this.#moves, watch.view, nowMs);
    this.#moves = called.state;
    const decided = decideStewardship(
      watch.view,
      { nowMs, leaderSinceMs: office.sinceMs, liveness: this.#parts.liveness() },
      this.#moves,
    );
    const leaving = leaveFailing(
      this.#leaving,
      watch.view,
      { nowMs, liveness: this.#parts.liveness() },
      this.#moves,
      decided.rewrites,
    );
    this.#leaving = leaving.state;
    const wakesMs = [called.wakeAtMs, decided.wakeAtMs, leaving.wakeAtMs].filter(
      (atMs) => atMs !== undefined,
    );
    if (wakesMs.length > 0) this.#stewardship.triggerIn(Math.min(...wakesMs) - nowMs);
    for (const { role, reason } of [...decided.holds, ...leaving.holds])
      this.#hold(roleId(role), reason);
    this.#tellStuck(decided.stuck);
    for (const one of called.calledOff) {
      const [rewrite] = stays(watch.view, one);
      if (rewrite !== undefined) await this.#rewrite(rewrite, office.guard, 'called-off');
    }
    for (const rewrite of [...decided.rewrites, ...leaving.rewrites]) {
      const { state } = rewrite.next;
      await this.#rewrite(rewrite, office.guard, state === 'assigned' ? 'placement' : state);
    }
  }

  async #rewrite(rewrite: Rewrite, guard: Compare, event: string): Promise<void> {
    const { store, journal } = this.#parts;
    const { compare, write } = rewriteTransaction(rewrite);
    const result = await store.transact({ compare: [...compare, guard], write });
    if (!result.done) return;
    this.#held.delete(roleId(rewrite.role));
    const { host, epoch, state } = rewrite.next;
    const text = `${state} ${host ?? 'nobody'}, epoch ${epoch}: ${rewrite.reason}`;
    journal.event(event, rewrite.role.name, text);
  }

  /** The next step of a change of controllers; the store alone says how far it is. */
  async #driveChange(): Promise<void> {
    const { watch, clock, store, journal } = this.#parts;
    const office = this.#office;
    if (office === undefined) return;
    this.#tellOfChange();
    const decided = decideChange(this.#drive, watch.view, clock.bootMs());
    this.#drive = decided.state;
    if (decided.wakeAtMs !== undefined) {
      this.#change.triggerIn(decided.wakeAtMs - clock.bootMs());
    }
    if (decided.final === undefined) return;
    const { compare, write } = finalTransaction(decided.final);
    const result = await store.transact({ compare: [...compare, office.guard], write });
    if (!result.done) return;
    watch.learn(write, result.revision);
    journal.event('controllers', 'change', decided.final.reason);
  }

  #tellOfChange(): void {
    const change = controllersChange(this.#parts.watch.view);
    const text = change === undefined ? '' : `${change.phase}: ${change.reason}`;
    if (text === this.#toldOfChange) return;
    this.#toldOfChange = text;
    this.#parts.journal.event('controllers', 'change', text === '' ? 'over' : text);
  }

  /** Says why nothing is done, once for each new reason. */
  #hold(id: string, reason: string): void {
    if (this.#held.get(id) === reason) return;
    this.#held.set(id, reason);
    this.#parts.journal.event('hold', id, reason);
  }

  #tellStuck(stuck: Stewardship['stuck']): void {
    const { told, news } = tellStuck(this.#stuck, this.#parts.watch.view, stuck);
    this.#stuck = told;
    for (const { role, host, reason } of news) {
      this.#parts.journal.event('hold', roleId(role), stuckText(host, reason));
    }
  }

  #circumstances(): Circumstances {
    const { host, clock, bootId } = this.#parts;
    return {
      me: host,
      leader: this.#office !== undefined,
      nowMs: clock.bootMs(),
      unixMs: clock.unixMs(),
      bootId,
      liveness: this.#parts.liveness(),
    };
  }
}

export interface LeadershipParts {
  readonly host: string;
  readonly bootId: string;
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
  readonly power: PowerAdapter;
  liveness(): Liveness;
}
