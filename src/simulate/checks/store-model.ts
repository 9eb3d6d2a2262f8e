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

  apply({ key, value }: StoredChange): void {
    const [head = '', first = '', second = '', third = ''] = key.split('/');
    switch (head) {
      case 'assign':
        set(this.assignments, `${first}/${second}`, value as SeenAssignment | undefined);
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
      case 'drained':
        member(this.drained, first, value);
        return;
      case 'hosts':
        set(this.enrolled, first, value as { incarnation: number; enforced: boolean } | undefined);
    }
  }

  standing(host: string, incarnation: number): number {
    return this.votes.get(`${host}/${incarnation}`)?.size ?? 0;
  }
}

function set<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function member(set: Set<string>, key: string, value: unknown): void {
  if (value === undefined) set.delete(key);
  else set.add(key);
}
