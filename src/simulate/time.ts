export const msNs = 1e6;
export const secondNs = 1e9;

interface Event {
  readonly atNs: number;
  readonly serial: number;
  action: (() => void) | undefined;
}

/** Turns of Node's event loop are let in this often, for signals and progress. */
const eventsPerTurn = 5_000;

/**
 * True time, in ns, which no simulated process can read. Events happen in order of time, those of
 * one instant in the order in which they were asked for; after each, whatever promises wait for it
 * are carried on before the next.
 */
export class VirtualTime {
  #nowNs = 0;
  #serial = 0;
  #events = 0;
  readonly #heap: Event[] = [];

  get nowNs(): number {
    return this.#nowNs;
  }

  /** How many events there have been. */
  get events(): number {
    return this.#events;
  }

  /** Calls `action` at that instant, or next if it has passed. Returns what calls it off. */
  at(atNs: number, action: () => void): () => void {
    const event: Event = { atNs: Math.max(atNs, this.#nowNs), serial: this.#serial++, action };
    this.#push(event);
    return () => {
      event.action = undefined;
    };
  }

  after(delayNs: number, action: () => void): () => void {
    return this.at(this.#nowNs + delayNs, action);
  }

  /** Lets time pass until then; `step` is called after every event. Stops early when it says so. */
  async runUntil(endNs: number, step: () => boolean): Promise<void> {
    await settle();
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.atNs > endNs) break;
      this.#pop();
      if (next.action === undefined) continue;
      this.#nowNs = next.atNs;
      next.action();
      await settle();
      if (++this.#events % eventsPerTurn === 0) await turn();
      if (!step()) return;
    }
    this.#nowNs = Math.max(this.#nowNs, endNs);
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || !before(event, parent)) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, left)) child++;
      const smaller = heap[child];
      if (smaller === undefined || !before(smaller, last)) break;
      heap[index] = smaller;
      index = child;
    }
    heap[index] = last;
  }
}

function before(a: Event, b: Event): boolean {
  return a.atNs < b.atNs || (a.atNs === b.atNs && a.serial < b.serial);
}

/** Node runs what was asked for the next tick only when no promise has anything left to do. */
function settle(): Promise<void> {
  return new Promise(onNextTick);
}

const onNextTick = (resolve: () => void) => process.nextTick(resolve);

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
