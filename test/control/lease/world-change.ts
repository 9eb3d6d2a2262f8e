import type { GrantedSets } from '../../../src/control/lease/grants.js';
import type { SetStore } from './set-store.js';
import type { StoreRules } from './vote-store.js';
import type { WorldHost } from './world-host.js';

/** What a change of controllers has around it. */
export interface ChangeSurroundings {
  readonly sets: SetStore;
  readonly rules: StoreRules;
  readonly host: WorldHost;
  readonly next: readonly number[];
  readonly all: readonly number[];
  longer(): boolean;
  delayUs(): number;
  /** By that controller's agent, unless it is no more. */
  agentDoes(index: number, delayUs: number, action: () => void): void;
  /** Reads retired marks and its own vote. */
  read(index: number): void;
  tell(index: number, sets: GrantedSets): void;
  write(index: number, carryOut: () => boolean): void;
  wait(index: number, action: () => void): void;
  /** Another configuration stands in the store. */
  committed(): void;
}

/**
 * A change of controllers in the world: who reads, moves, refuses, waits and finishes when. The host
 * moves and old controllers refuse at any time that a story likes, also where the product would wait
 * for each other: what must hold may not rest on that.
 */
export class WorldChange {
  readonly #around: ChangeSurroundings;
  /** Of the set that it is about. */
  readonly #reading = new Map<number, number>();
  #driving = 0;
  #finished = 0;

  constructor(around: ChangeSurroundings) {
    this.#around = around;
  }

  /** How many changes came to their end. */
  get finished(): number {
    return this.#finished;
  }
  get over(): boolean {
    const { sets, host } = this.#around;
    return !sets.joint && sets.isRead && host.set === sets.electorate.set;
  }

  begin(): void {
    this.#around.sets.begin(this.#around.next);
    this.#rewritten();
  }

  goBack(): void {
    this.#around.sets.goBack();
    this.#rewritten();
  }

  /** The host counts by what stands in the store now, read by enough or not. */
  move(): void {
    const { sets, host } = this.#around;
    if (host.up && host.set !== sets.electorate.set) host.move(sets.electorate);
  }

  /** Those of the old ones that a majority needs, and perhaps more, refuse the old set. */
  refuse(): void {
    const { sets, all, agentDoes, delayUs } = this.#around;
    if (!sets.joint) return;
    const { set } = sets.electorate;
    for (const index of all.filter((each) => sets.isOld(each))) {
      agentDoes(index, delayUs(), () => this.#refuse(index, set));
    }
  }

  /** Whoever drives it dies: the next one waits anew. */
  driverDies(): void {
    this.#driving = 0;
    this.look();
  }

  look(): void {
    const { sets, all } = this.#around;
    const { set } = sets.electorate;
    if (set === 0) return;
    for (const index of all) {
      if (!sets.counts(index) || this.#reading.get(index) === set) continue;
      this.#reading.set(index, set);
      this.#around.agentDoes(index, this.#around.delayUs(), () => this.#read(index));
    }
    if (sets.isRefused && !this.#around.longer()) this.#drive(set);
  }

  /** What could not be read before a restart is read after it. */
  again(index: number): void {
    this.#reading.delete(index);
    this.#driving = 0;
    this.look();
  }

  #rewritten(): void {
    this.#around.committed();
    this.look();
  }

  #read(index: number): void {
    const { sets, read, tell, write } = this.#around;
    const { set } = sets.electorate;
    read(index);
    tell(index, { lowest: sets.refusesBelow(index), newest: set });
    write(index, () => {
      sets.accept(index, set);
      return true;
    });
  }

  #refuse(index: number, set: number): void {
    const { sets, tell, write } = this.#around;
    tell(index, { lowest: set, newest: 0 });
    write(index, () => {
      sets.refuse(index, set);
      return true;
    });
  }

  #drive(set: number): void {
    if (this.#driving === set) return;
    this.#driving = set;
    const { sets, all, rules, wait } = this.#around;
    const finish = () => {
      if (this.#driving !== set || !sets.finish(set)) return;
      this.#finished++;
      this.#rewritten();
    };
    for (const index of all) {
      if (!rules.lastLeaseWaited) finish();
      else if (sets.counts(index)) wait(index, finish);
    }
  }
}
