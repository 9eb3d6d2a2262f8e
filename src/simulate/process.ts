import type { Timers } from '../store/timers.js';
import type { HostClock } from './clock.js';
import type { Random } from './random.js';
import { msNs, type VirtualTime } from './time.js';

/** What waits for a process that is stopped; a socket's buffer holds no more. */
const mostWaiting = 4_096;
/** How late the machine's scheduler may wake a process. */
const usualLatenessNs = 0.2 * msNs;
const rareLatenessNs = 8 * msNs;
const rareLateness = 0.01;

/**
 * A process: things reach it only while it runs. Stopped (SIGSTOP) they wait; after its end they are
 * lost, and whatever its promises waited for never comes.
 */
export class SimProcess {
  readonly name: string;
  readonly clock: HostClock;
  readonly timers: Timers;
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #stops = new Set<string>();
  #waiting: (() => void)[] = [];
  #alive = true;

  constructor(name: string, time: VirtualTime, clock: HostClock, random: Random) {
    this.name = name;
    this.#time = time;
    this.clock = clock;
    this.#random = random;
    this.timers = {
      nowMs: () => clock.bootMs(),
      after: (delayMs, action) => this.#after(delayMs, action),
    };
  }

  get alive(): boolean {
    return this.#alive;
  }

  get runs(): boolean {
    return this.#alive && this.#stops.size === 0;
  }

  /** Now, or when it goes on, or never. */
  deliver(action: () => void): void {
    if (!this.#alive) return;
    if (this.#stops.size === 0) action();
    else if (this.#waiting.length < mostWaiting) this.#waiting.push(action);
  }

  /** Work of the kernel or the network for this process that takes so long in true time. */
  deliverAfter(delayNs: number, action: () => void): void {
    this.#time.after(delayNs, () => this.deliver(action));
  }

  /** Takes that long, unless the process ends. Others may stop it for reasons of their own. */
  sleep(delayNs: number): Promise<void> {
    return new Promise((resolve) => this.deliverAfter(delayNs, resolve));
  }

  stop(why: string): void {
    this.#stops.add(why);
  }

  resume(why: string): void {
    if (!this.#stops.delete(why) || this.#stops.size > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    // One after the other: each may change what the next one finds, or stop the process again.
    for (const action of waiting) this.#time.after(0, () => this.deliver(action));
  }

  kill(): void {
    this.#alive = false;
    this.#waiting = [];
  }

  #after(delayMs: number, action: () => void): () => void {
    let on = true;
    const random = this.#random;
    const lateNs = random.chance(rareLateness)
      ? random.next() * rareLatenessNs
      : random.next() * usualLatenessNs;
    const delayNs = this.clock.trueNs(Math.max(0, delayMs) * msNs);
    const cancelEvent = this.#time.after(delayNs + lateNs, () =>
      this.deliver(() => {
        if (!on) return;
        on = false;
        action();
      }),
    );
    return () => {
      on = false;
      cancelEvent();
    };
  }
}
