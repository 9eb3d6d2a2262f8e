import type { Electorate } from '../../../src/control/electorate.js';
import { isQuorum } from '../../../src/control/electorate.js';
import type { StoreRules } from './vote-store.js';

/**
 * The set of controllers as it stands in the store, with what each controller wrote beside it. Names
 * are indexes of controllers, as texts.
 */
export class SetStore {
  #electorate: Electorate;
  readonly #rules: StoreRules;
  readonly #accepts = new Map<number, number>();
  readonly #refusesBelow = new Map<number, number>();

  constructor(first: readonly number[], rules: StoreRules) {
    this.#electorate = { set: 0, sets: [first.map(String)] };
    this.#rules = rules;
  }

  get electorate(): Electorate {
    return this.#electorate;
  }
  get joint(): boolean {
    return this.#electorate.sets.length > 1;
  }
  /** One of those whose votes or leases count. */
  counts(index: number): boolean {
    return this.#electorate.sets.flat().includes(String(index));
  }
  isOld(index: number): boolean {
    return this.#electorate.sets[0]?.includes(String(index)) ?? false;
  }
  isNewcomer(index: number): boolean {
    return this.joint && !this.isOld(index);
  }
  refusesBelow(index: number): number {
    return this.#refusesBelow.get(index) ?? 0;
  }

  begin(next: readonly number[]): void {
    const { set, sets } = this.#electorate;
    if (this.joint) return;
    this.#electorate = { set: set + 1, sets: [...sets, next.map(String)] };
  }

  /** The old controllers again. */
  goBack(): void {
    const { set, sets } = this.#electorate;
    if (this.joint) this.#electorate = { set: set + 1, sets: sets.slice(0, 1) };
  }

  /** The new ones alone; `set` is that of the joint configuration which was waited for. */
  finish(set: number): boolean {
    if (!this.joint || this.#electorate.set !== set) return false;
    this.#electorate = { set: set + 1, sets: this.#electorate.sets.slice(1) };
    return true;
  }

  accept(index: number, set: number): void {
    this.#accepts.set(index, Math.max(set, this.#accepts.get(index) ?? 0));
  }
  refuse(index: number, below: number): void {
    this.#refusesBelow.set(index, Math.max(below, this.refusesBelow(index)));
  }

  /** Whether majorities of all sets have read the present one. */
  get isRead(): boolean {
    const { set, sets } = this.#electorate;
    return isQuorum(sets, (name) => (this.#accepts.get(Number(name)) ?? 0) >= set);
  }
  /** Whether a majority of the old set refuses it. */
  get isRefused(): boolean {
    const { set, sets } = this.#electorate;
    if (!this.joint) return false;
    if (!this.#rules.oldSetRefused) return true;
    return isQuorum(sets.slice(0, 1), (name) => this.refusesBelow(Number(name)) >= set);
  }
}
