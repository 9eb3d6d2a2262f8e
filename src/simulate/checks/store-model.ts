import type { StoredChange } from '../world.js';

/** An assignment as far as the checks need to read it. */
export interface SeenAssignment {
  readonly host: string | null;
  readonly incarnation: number;
  readonly epoch: number;
  readonly state: string;
  readonly cause: string;
}

/** What the store holds, kept by the checks themselves from what was written to it. */
export class StoreModel {
  readonly assignments = new Map<string, SeenAssignment>();
  /** Roles whose host was given them by a planned move, under the epoch that they have. */
  readonly moved = new Set<string>();
  /** `host/incarnation` → controllers whose vote stands. */
  readonly votes = new Map<string, Set<string>>();
  readonly retired = new Set<string>();
  /** Switched off, or said to be by a person. */
  readonly fenced = new Set<string>();
  readonly enrolled = new Map<
    string,
    { readonly incarnation: number; readonly enforced: boolean }
  >();
  readonly drained = new Set<string>();
  /** By number: lists of controllers whose majorities count, each of them. */
  readonly sets = new Map<number, Sets>();
  /** Those that counted until then; true time, ns. */
  readonly #former: { readonly sets: Sets; readonly untilNs: number }[] = [];
  readonly #nowNs: () => number;
  #set = 0;

  constructor(nowNs: () => number) {
    this.#nowNs = nowNs;
  }

  /** Whose majorities count now. */
  get electorate(): Sets {
    return this.sets.get(this.#set) ?? [];
  }

  /** And whose did within this time: hosts and controllers may not have heard of it. */
  lately(durationNs: number): Sets {
    const sinceNs = this.#nowNs() - durationNs;
    const former = this.#former.filter(({ untilNs }) => untilNs >= sinceNs);
    return [...this.electorate, ...former.flatMap(({ sets }) => sets)];
  }

  /** One set of controllers is about to replace another. */
  get changing(): boolean {
    return this.electorate.length > 1;
  }

  apply({ key, value }: StoredChange): void {
    const [head = '', first = '', second = '', third = ''] = key.split('/');
    switch (head) {
      case 'assign':
        this.#assign(`${first}/${second}`, value as SeenAssignment | undefined);
        return;
      case 'votes': {
        const id = `${first}/${second}`;
        const standing = this.votes.get(id) ?? new Set();
        this.votes.set(id, standing);
        if ((value as { state?: string } | undefined)?.state === 'expired') standing.add(third);
        else standing.delete(third);
        return;
      }
      case 'retired':
        member(this.retired, `${first}/${second}`, value);
        return;
      case 'fenced':
        member(this.fenced, `${first}/${second}`, value);
        return;
      case 'config':
        this.#configure(value as SeenConfig);
        return;
      case 'drained':
        member(this.drained, first, value);
        return;
      case 'hosts':
        set(this.enrolled, first, value as { incarnation: number; enforced: boolean } | undefined);
    }
  }

  #assign(id: string, next: SeenAssignment | undefined): void {
    if (next !== undefined && next.epoch !== this.assignments.get(id)?.epoch) {
      const planned = next.cause === 'move' || next.cause === 'drain';
      member(this.moved, id, planned ? next : undefined);
    }
    set(this.assignments, id, next);
  }

  #configure({ config, controllers }: SeenConfig): void {
    const set = controllers?.set ?? 0;
    const from = controllers?.from ?? null;
    const sets = from === null ? [config.controllers] : [from, config.controllers];
    if (set !== this.#set) {
      this.#former.push({ sets: this.electorate, untilNs: this.#nowNs() });
    }
    this.#set = set;
    this.sets.set(set, sets);
  }

  /** Whether the standing votes are a majority of every set that counts. */
  isVotedOut(host: string, incarnation: number): boolean {
    const standing = this.votes.get(`${host}/${incarnation}`);
    return hasMajorities(this.electorate, (name) => standing?.has(name) ?? false);
  }

  standing(host: string, incarnation: number): number {
    return this.votes.get(`${host}/${incarnation}`)?.size ?? 0;
  }
}

export type Sets = readonly (readonly string[])[];

interface SeenConfig {
  readonly config: { readonly controllers: readonly string[] };
  readonly controllers?: { readonly set: number; readonly from: readonly string[] | null };
}

/** More than half of each list. */
export function hasMajorities(sets: Sets, counts: (name: string) => boolean): boolean {
  return sets.every((names) => names.filter(counts).length > names.length / 2);
}

function set<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function member(set: Set<string>, key: string, value: unknown): void {
  if (value === undefined) set.delete(key);
  else set.add(key);
}
