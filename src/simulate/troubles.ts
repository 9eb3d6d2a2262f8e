import type { VirtualTime } from './time.js';

/** What a fault may harm: `pulse:h1`, `agent:h1`, `link:h1>h2`, `reach:h1` (the store), `store`, … */
export type Part = string;

export const linkPart = (from: string, to: string): Part => `link:${from}>${to}`;

/**
 * Which parts are in trouble, as told by whoever made the trouble: the product's own view of things
 * plays no role in it.
 */
export class Troubles {
  readonly #time: VirtualTime;
  readonly #active = new Map<Part, number>();
  readonly #begunNs = new Map<Part, number>();
  readonly #endedNs = new Map<Part, number>();
  readonly #listeners: (() => void)[] = [];

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  /** Called before each change, while the old state still holds. */
  beforeChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  begin(parts: Iterable<Part>): void {
    for (const listener of this.#listeners) listener();
    for (const part of parts) {
      const before = this.#active.get(part) ?? 0;
      if (before === 0) this.#begunNs.set(part, this.#time.nowNs);
      this.#active.set(part, before + 1);
    }
  }

  end(parts: Iterable<Part>): void {
    for (const listener of this.#listeners) listener();
    for (const part of parts) {
      const left = (this.#active.get(part) ?? 0) - 1;
      if (left > 0) this.#active.set(part, left);
      else this.#active.delete(part);
      this.#endedNs.set(part, this.#time.nowNs);
    }
  }

  get any(): boolean {
    return this.#active.size > 0;
  }

  fine(part: Part): boolean {
    return !this.#active.has(part);
  }

  /** Since when it has been in trouble without a break; undefined while it is fine. */
  activeSinceNs(part: Part): number | undefined {
    return this.#active.has(part) ? this.#begunNs.get(part) : undefined;
  }

  /** Since when all of these have been fine; undefined while one is not. */
  fineSinceNs(...parts: readonly Part[]): number | undefined {
    let sinceNs = 0;
    for (const part of parts) {
      if (this.#active.has(part)) return undefined;
      sinceNs = Math.max(sinceNs, this.#endedNs.get(part) ?? 0);
    }
    return sinceNs;
  }
}
