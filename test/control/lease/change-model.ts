import { majority } from '../../../src/control/electorate.js';
import { fields, type Searchable } from './state-search.js';

/**
 * One incarnation's lease, the votes against it and the first commit, while the controllers change:
 * small enough that every state can be looked at. Time goes in ticks, and all times are kept as ages,
 * so neither the number of heartbeats, crashes and restarts nor the length of a run is bounded.
 *
 * Heartbeats and acknowledgements are delivered any number of times, at any later time, in any order
 * or never. Hosts move and old controllers refuse at any time they may: that the product waits for the
 * one before the other is not relied on.
 */
export interface ChangeModelOptions {
  /** Indexes of controllers. */
  readonly old: readonly number[];
  readonly next: readonly number[];
  readonly leaseTicks: number;
  readonly broken?: BrokenRule;
}

export type BrokenRule =
  | 'the new majority alone commits'
  | 'the old majority alone carries a lease'
  | 'a controller acks a set it has not read'
  | 'nobody refuses the old set'
  | 'the last lease is not waited for'
  | 'a refusal is forgotten by a restart'
  | 'a refusal from before a restart still lands'
  | 'a commit lands without the vote that it was sent with'
  | 'no joint configuration';

/** Of the whole: phase of the change in the store, and the set that the host counts under. */
const whole = fields({ left: 2, sent: 2, committed: 1, phase: 2, counts: 2, timer: 2 });
/** Of one controller. Writes in flight: 1 of this start, 2 of one before. */
const one = fields({
  up: 1,
  read: 1,
  stopped: 1,
  voted: 1,
  voting: 2,
  acks: 2,
  remains: 2,
  promised: 2,
  knows: 2,
  refuses: 1,
  refused: 1,
  refusing: 2,
});
const [before, joint, final, back] = [0, 1, 2, 3] as const;

export class ChangeModel implements Searchable {
  readonly words: number;
  readonly first: readonly number[];
  readonly #options: ChangeModelOptions;
  readonly #count: number;
  /** Controllers of the same sets are alike: their order tells nothing. */
  readonly #alike: readonly (readonly number[])[];

  constructor(options: ChangeModelOptions) {
    const { old, next, leaseTicks } = options;
    if (leaseTicks > 2) throw new Error('the fields hold leases of two ticks');
    this.#options = options;
    this.#count = 1 + Math.max(...old, ...next);
    this.words = this.#count + 1;
    const controller = one.read.to(one.up.to(0, 1), 1);
    this.first = [0, ...Array.from({ length: this.#count }, () => controller)];
    const all = Array.from({ length: this.#count }, (_, index) => index);
    const kind = (index: number) => (old.includes(index) ? 1 : 0) + (next.includes(index) ? 2 : 0);
    this.#alike = [1, 2, 3].map((which) => all.filter((index) => kind(index) === which));
  }

  isBad([state = 0]: readonly number[]): boolean {
    return whole.committed.of(state) === 1 && whole.left.of(state) > 0;
  }

  after(state: readonly number[], tell: (next: readonly number[], act: string) => void): void {
    const out = (next: number[], act: string) => tell(this.#normal(next), act);
    this.#passTime(state, out);
    this.#host(state, out);
    for (let index = 0; index < this.#count; index++) this.#controller(state, index, out);
    this.#store(state, out);
  }

  #passTime(state: readonly number[], out: Out): void {
    const [head = 0, ...controllers] = state;
    const fewer = (value: number) => Math.max(0, value - 1);
    let next = whole.left.to(head, fewer(whole.left.of(head)));
    next = whole.sent.to(next, this.#older(whole.sent.of(head)));
    next = whole.timer.to(next, fewer(whole.timer.of(head)));
    const older = controllers.map((word) => {
      let aged = one.remains.to(word, fewer(one.remains.of(word)));
      aged = one.promised.to(aged, fewer(one.promised.of(word)));
      return one.acks.to(aged, this.#older(one.acks.of(word)));
    });
    out([next, ...older], 'a tick passes');
  }

  #older(ages: number): number {
    return (ages << 1) & ((1 << this.#options.leaseTicks) - 1);
  }

  #host(state: readonly number[], out: Out): void {
    const [head = 0] = state;
    const phase = whole.phase.of(head);
    const counts = whole.counts.of(head);
    if ((whole.sent.of(head) & 1) === 0) {
      out([whole.sent.to(head, whole.sent.of(head) | 1), ...state.slice(1)], 'host sends');
    }
    out(this.#anew(state, counts), 'pulse of the host restarts');
    if (phase > counts) out(this.#anew(state, phase), `host counts under set ${phase}`);
    for (const index of this.#counted(counts)) {
      const word = state[index + 1] as number;
      for (let age = 0; age < this.#options.leaseTicks; age++) {
        const left = this.#options.leaseTicks - age;
        if (((one.acks.of(word) >> age) & 1) === 0 || left <= one.remains.of(word)) continue;
        const next = [...state];
        next[index + 1] = one.remains.to(word, left);
        const deadline = Math.max(whole.left.of(head), this.#carried(next));
        next[0] = whole.left.to(head, deadline);
        out(next, `host gets an ack of ${index}`);
      }
    }
  }

  /** A nonce of its own: what was sent, and acknowledged, before is void. */
  #anew(state: readonly number[], counts: number): number[] {
    const [head = 0, ...controllers] = state;
    const next = whole.sent.to(whole.counts.to(head, counts), 0);
    return [next, ...controllers.map((word) => one.acks.to(one.remains.to(word, 0), 0))];
  }

  #controller(state: readonly number[], index: number, out: Out): void {
    const [head = 0] = state;
    const word = state[index + 1] as number;
    const { leaseTicks, broken } = this.#options;
    const change = (next: number, act: string) => {
      const changed = [...state];
      changed[index + 1] = next;
      out(changed, `${index} ${act}`);
    };
    this.#acks(state, index, change);
    const works = one.up.of(word) === 1 && one.read.of(word) === 1;
    const voted = one.voted.of(word) === 1;
    if (works && one.stopped.of(word) === 0 && one.promised.of(word) === 0 && !voted) {
      change(one.voting.to(one.stopped.to(word, 1), 1), 'acks no more and writes its vote');
    }
    if (one.voting.of(word) > 0) this.#lands(state, index, out);
    const phase = whole.phase.of(head);
    const committed = whole.committed.of(head);
    if (works && one.knows.of(word) < phase) {
      const known = one.knows.to(word, phase);
      change(committed === 1 ? one.stopped.to(known, 1) : known, `reads configuration ${phase}`);
    }
    const isOld = this.#options.old.includes(index);
    if (works && isOld && phase === joint && one.knows.of(word) >= joint) {
      if (one.refuses.of(word) === 0) {
        change(one.refusing.to(one.refuses.to(word, 1), 1), 'refuses the old set, writes that');
      }
    }
    if (one.refusing.of(word) > 0) {
      change(one.refusing.to(one.refused.to(word, 1), 0), 'has its refusal in the store');
    }
    if (one.up.of(word) === 1) {
      let down = word;
      for (const field of [one.up, one.read, one.stopped, one.promised, one.knows, one.refuses]) {
        down = field.to(down, 0);
      }
      if (one.voting.of(word) === 1) down = one.voting.to(down, 2);
      if (one.refusing.of(word) === 1) down = one.refusing.to(down, 2);
      change(down, 'crashes');
    } else change(one.promised.to(one.up.to(word, 1), leaseTicks), 'starts');
    if (one.up.of(word) === 1 && one.read.of(word) === 0) {
      let read = one.knows.to(one.read.to(word, 1), phase);
      read = one.stopped.to(read, voted || committed === 1 ? 1 : 0);
      // Its start number was written before it reads: what an earlier start has in flight is void.
      if (broken !== 'a commit lands without the vote that it was sent with') {
        read = one.voting.to(read, 0);
      }
      if (broken !== 'a refusal from before a restart still lands') read = one.refusing.to(read, 0);
      const remembers = broken !== 'a refusal is forgotten by a restart';
      read = one.refuses.to(read, remembers ? one.refused.of(word) : 0);
      change(read, 'reads votes, marks, configuration and refusal');
    }
  }

  /** Alone or, where it makes the majority, in one transaction with the commit. */
  #lands(state: readonly number[], index: number, out: Out): void {
    const [head = 0] = state;
    const word = state[index + 1] as number;
    const mine = one.voting.of(word) === 1;
    // A restart made it void: only where that rule is broken there is still something to land.
    const isVoid = !mine && one.read.of(word) === 1;
    const landed = one.voting.to(one.voted.to(word, 1), 0);
    const voted = [...state];
    voted[index + 1] = mine ? one.stopped.to(landed, 1) : landed;
    const commits = whole.committed.of(head) === 0 && this.#mayCommit(voted);
    if (!isVoid) out([...voted], `${index} has its vote in the store`);
    if (!commits) return;
    voted[0] = whole.committed.to(head, 1);
    if (isVoid) voted[index + 1] = one.voting.to(word, 0);
    out(voted, `the failover is COMMITTED with the vote of ${index}`);
  }

  #acks(
    state: readonly number[],
    index: number,
    change: (next: number, act: string) => void,
  ): void {
    const [head = 0] = state;
    const word = state[index + 1] as number;
    const { leaseTicks, broken } = this.#options;
    const counts = whole.counts.of(head);
    if (!this.#counted(counts).includes(index)) return;
    const works = one.up.of(word) === 1 && one.read.of(word) === 1 && one.stopped.of(word) === 0;
    const unread = one.knows.of(word) < counts;
    const refused = counts === before && one.refuses.of(word) === 1;
    const acksUnread = broken === 'a controller acks a set it has not read';
    if (!works || refused || (unread && !acksUnread)) return;
    for (let age = 0; age < leaseTicks; age++) {
      if (((whole.sent.of(head) >> age) & 1) === 0) continue;
      if (leaseTicks - age <= one.remains.of(word)) continue;
      const acked = one.acks.to(word, one.acks.of(word) | (1 << age));
      const next = one.promised.to(acked, leaseTicks);
      if (next !== word) change(next, `acks a heartbeat of age ${age}`);
    }
  }

  #store(state: readonly number[], out: Out): void {
    const [head = 0, ...controllers] = state;
    const { leaseTicks, broken } = this.#options;
    const change = (next: number, act: string) => out([next, ...controllers], act);
    if (whole.committed.of(head) === 0 && this.#mayCommit(state)) {
      change(whole.committed.to(head, 1), 'the failover is COMMITTED');
    }
    const phase = whole.phase.of(head);
    if (phase === before) {
      const next = broken === 'no joint configuration' ? final : joint;
      change(whole.phase.to(head, next), `configuration ${next} is written`);
    }
    if (phase !== joint) return;
    change(whole.timer.to(whole.phase.to(head, back), 0), 'the old configuration is written again');
    const refused = (index: number) => one.refused.of(state[index + 1] as number) === 1;
    const unasked = broken === 'nobody refuses the old set';
    if (!unasked && !isMajority(this.#options.old, refused)) return;
    const over = unasked || broken === 'the last lease is not waited for';
    const timer = whole.timer.of(head);
    if (!over && timer === 0)
      change(whole.timer.to(head, leaseTicks + 1), 'a driver begins to wait');
    if (over || timer === 1) {
      change(whole.timer.to(whole.phase.to(head, final), 0), 'the final configuration is written');
    }
  }

  #mayCommit(state: readonly number[]): boolean {
    const voted = (index: number) => one.voted.of(state[index + 1] as number) === 1;
    const phase = whole.phase.of(state[0] as number);
    const { next, broken } = this.#options;
    const sets = this.#sets(phase);
    const counting = phase === joint && broken === 'the new majority alone commits' ? [next] : sets;
    return counting.every((names) => isMajority(names, voted));
  }

  #carried(state: readonly number[]): number {
    const counts = whole.counts.of(state[0] as number);
    const { old, broken } = this.#options;
    const sets = this.#sets(counts);
    const alone = counts === joint && broken === 'the old majority alone carries a lease';
    const ends = (alone ? [old] : sets).map((names) => {
      const left = names.map((index) => one.remains.of(state[index + 1] as number));
      return left.sort((a, b) => b - a)[majority(names.length) - 1] ?? 0;
    });
    return Math.min(...ends);
  }

  #sets(phase: number): readonly (readonly number[])[] {
    const { old, next } = this.#options;
    return phase === joint ? [old, next] : [phase === final ? next : old];
  }

  #counted(counts: number): readonly number[] {
    return [...new Set(this.#sets(counts).flat())];
  }

  /** One of the states that are the same: what can make no difference is left out. */
  #normal(state: number[]): readonly number[] {
    const { leaseTicks } = this.#options;
    for (let index = 1; index < state.length; index++) {
      let word = state[index] as number;
      for (let age = 0; age < leaseTicks; age++) {
        const useless = leaseTicks - age <= one.remains.of(word);
        if (useless) word = one.acks.to(word, one.acks.of(word) & ~(1 << age));
      }
      state[index] = word;
    }
    for (const alike of this.#alike) {
      if (alike.length < 2) continue;
      const sorted = alike.map((index) => state[index + 1] as number).sort((a, b) => a - b);
      alike.forEach((index, place) => {
        state[index + 1] = sorted[place] as number;
      });
    }
    return state;
  }
}

type Out = (next: number[], act: string) => void;

function isMajority(names: readonly number[], counts: (index: number) => boolean): boolean {
  return names.filter(counts).length >= majority(names.length);
}
