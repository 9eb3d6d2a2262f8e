/** A field of a packed state. */
export class Field {
  readonly #shift: number;
  readonly #mask: number;

  constructor(shift: number, bits: number) {
    this.#shift = shift;
    this.#mask = (1 << bits) - 1;
  }
  of(word: number): number {
    return (word >>> this.#shift) & this.#mask;
  }
  /** The word with another value there. */
  to(word: number, value: number): number {
    return (word & ~(this.#mask << this.#shift)) | (value << this.#shift);
  }
}

/** Fields beside each other, from the lowest bit on. */
export function fields<Name extends string>(
  widths: Readonly<Record<Name, number>>,
): Readonly<Record<Name, Field>> {
  let shift = 0;
  const made = Object.entries<number>(widths).map(([name, bits]) => {
    const field = new Field(shift, bits);
    shift += bits;
    return [name, field] as const;
  });
  if (shift > 31) throw new Error(`${shift} bits do not fit`);
  return Object.fromEntries(made) as Record<Name, Field>;
}

export interface Searched {
  readonly states: number;
  readonly transitions: number;
  /** How the bad state is reached; undefined: none is reachable, and every state was looked at. */
  readonly story: readonly string[] | undefined;
}

/** States of a few 31-bit words each, in a hash table of their own: a Map of strings is ten times as slow. */
class StateSet {
  readonly #words: number;
  #states: Int32Array;
  #table: Int32Array;
  size = 0;

  constructor(words: number) {
    this.#words = words;
    this.#states = new Int32Array(words << 16);
    this.#table = new Int32Array(1 << 18).fill(-1);
  }

  /** @returns its number if it is new, else -1 */
  add(state: readonly number[]): number {
    if (this.size * 2 > this.#table.length) this.#grow();
    let slot = this.#hash(state);
    for (;;) {
      const at = this.#table[slot] as number;
      if (at < 0) break;
      if (this.#is(at, state)) return -1;
      slot = (slot + 1) & (this.#table.length - 1);
    }
    if ((this.size + 1) * this.#words > this.#states.length) {
      const states = new Int32Array(this.#states.length * 2);
      states.set(this.#states);
      this.#states = states;
    }
    this.#states.set(state, this.size * this.#words);
    this.#table[slot] = this.size;
    return this.size++;
  }

  at(index: number): number[] {
    return [...this.#states.subarray(index * this.#words, (index + 1) * this.#words)];
  }

  #is(index: number, state: readonly number[]): boolean {
    const from = index * this.#words;
    for (let word = 0; word < this.#words; word++) {
      if (this.#states[from + word] !== state[word]) return false;
    }
    return true;
  }

  #hash(state: readonly number[]): number {
    let hash = 0x811c9dc5;
    for (const word of state) {
      hash = Math.imul(hash ^ word, 0x01000193);
      hash ^= hash >>> 15;
    }
    return (hash ^ (hash >>> 13)) & (this.#table.length - 1);
  }

  #grow(): void {
    this.#table = new Int32Array(this.#table.length * 2).fill(-1);
    for (let index = 0; index < this.size; index++) {
      let slot = this.#hash(this.at(index));
      while ((this.#table[slot] as number) >= 0) slot = (slot + 1) & (this.#table.length - 1);
      this.#table[slot] = index;
    }
  }
}

export interface Searchable {
  readonly words: number;
  readonly first: readonly number[];
  isBad(state: readonly number[]): boolean;
  /** Calls back with every state that may follow, and what happened. */
  after(state: readonly number[], tell: (next: readonly number[], act: string) => void): void;
}

/** Every state that can be reached, breadth first, until a bad one is found or there are no more. */
export function search(model: Searchable): Searched {
  const states = new StateSet(model.words);
  const cameFrom: number[] = [-1];
  /** What happened, by number: millions of texts would not fit. */
  const names = new Map<string, number>([['', 0]]);
  const acts: number[] = [0];
  let transitions = 0;
  let bad: number | undefined;
  states.add(model.first);
  for (let next = 0; next < states.size && bad === undefined; next++) {
    model.after(states.at(next), (state, act) => {
      transitions++;
      const added = states.add(state);
      if (added < 0) return;
      cameFrom[added] = next;
      const name = names.get(act) ?? names.size;
      names.set(act, name);
      acts[added] = name;
      if (bad === undefined && model.isBad(state)) bad = added;
    });
  }
  if (bad === undefined) return { states: states.size, transitions, story: undefined };
  const story: string[] = [];
  const texts = [...names.keys()];
  for (let at = bad; at > 0; at = cameFrom[at] as number)
    story.unshift(texts[acts[at] as number] as string);
  return { states: states.size, transitions, story };
}
