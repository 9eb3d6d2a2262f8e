import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { decode, type Seen } from './frames.js';
import { type Captured, PcapReader } from './pcap.js';

/** The part of a lab that observers need: a process in a node, with pipes. */
export interface Nodes {
  spawn(node: string, argv: readonly string[]): ChildProcess;
}

/** Ends a process that an observer started and waits until it is gone. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill(signal);
  await gone;
}

export type CapturedFrame = Captured & { readonly seen: Seen };

/** Frames that something saw, all of them once it has been stopped. */
export interface Listening {
  /** Resolves once frames are being captured. */
  readonly ready: Promise<void>;
  readonly frames: readonly CapturedFrame[];
  stop(): Promise<void>;
}

/** Every frame that one interface of one node saw, by tcpdump: not the product's own word. */
export class Capture implements Listening {
  readonly #child: ChildProcess;
  readonly #frames: CapturedFrame[] = [];
  readonly #ready: Promise<void>;
  /** All of its output has been read. */
  readonly #closed: Promise<void>;

  /** `filter` is tcpdump's (pcap-filter(7)). Frames are kept in memory: keep the filter narrow. */
  constructor(nodes: Nodes, node: string, device: string, filter: string) {
    const argv = ['tcpdump', '-i', device, '-n', '-U', '--immediate-mode', '-s', '512', '-w', '-'];
    this.#child = nodes.spawn(node, [...argv, filter]);
    this.#closed = new Promise((resolve) => {
      this.#child.once('close', () => resolve());
      this.#child.once('error', () => resolve());
    });
    const reader = new PcapReader();
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      for (const captured of reader.push(chunk)) {
        const seen = decode(captured.frame);
        if (seen !== undefined) this.#frames.push({ ...captured, seen });
      }
    });
    this.#ready = new Promise((resolve, reject) => {
      let said = '';
      this.#child.stderr?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes('listening on')) resolve();
      });
      this.#child.once('exit', () => reject(new Error(`tcpdump in ${node} ended: ${said}`)));
      this.#child.once('error', reject);
    });
    // Whoever awaits `ready` hears of the failure; an observer that nobody awaited must not crash.
    this.#ready.catch(() => undefined);
  }

  get ready(): Promise<void> {
    return this.#ready;
  }

  get frames(): readonly CapturedFrame[] {
    return this.#frames;
  }

  async stop(): Promise<void> {
    await end(this.#child, 'SIGINT');
    await this.#closed;
  }
}

/** One thing that a client asks again and again: when it was answered. */
export abstract class Watch {
  protected readonly child: ChildProcess;
  /** Wall clock of each good answer, ms. */
  readonly #answers: number[] = [];
  readonly #waiters = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.child = child;
    if (child.stdout === null) throw new Error('the watch needs the output of its process');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const atMs = this.answeredAt(line);
      if (atMs === undefined) return;
      this.#answers.push(atMs);
      for (const waiter of this.#waiters) waiter();
    });
  }

  /** The time of the answer that this line of output tells of; undefined for other lines. */
  protected abstract answeredAt(line: string): number | undefined;

  get answers(): number {
    return this.#answers.length;
  }

  /** Resolves with the first answer after the given wall clock, or rejects after `timeoutMs`. */
  answerAfter(sinceMs: number, timeoutMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.#answers.findLast((atMs) => atMs > sinceMs);
        if (found === undefined) return;
        this.#waiters.delete(look);
        clearTimeout(timer);
        resolve(this.#answers.find((atMs) => atMs > sinceMs) ?? found);
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(look);
        reject(new Error(`no answer within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiters.add(look);
      look();
    });
  }

  /** The longest time without an answer since the given moment, ms; undefined with under two. */
  longestGapMs(sinceMs: number): number | undefined {
    let longest: number | undefined;
    const before = this.#answers.filter((atMs) => atMs <= sinceMs);
    const relevant = [...before.slice(-1), ...this.#answers.filter((atMs) => atMs > sinceMs)];
    for (let index = 1; index < relevant.length; index++) {
      const gap = (relevant[index] ?? 0) - (relevant[index - 1] ?? 0);
      if (longest === undefined || gap > longest) longest = gap;
    }
    return longest;
  }

  async stop(): Promise<void> {
    await end(this.child, 'SIGINT');
  }
}

/** An echo every 2 ms, or less often, from a client. */
export class PingWatch extends Watch {
  /** Each answer, with its request's number. */
  readonly #sequence: { readonly number: number; readonly atMs: number }[] = [];

  constructor(nodes: Nodes, node: string, address: string, everyMs = 2) {
    const script = new URL('./ping-loop.js', import.meta.url).pathname;
    super(nodes.spawn(node, [process.execPath, script, address, String(everyMs)]));
  }

  /** `ok NUMBER WALLCLOCKMS` */
  protected override answeredAt(line: string): number | undefined {
    const match = /^ok (\d+) (\d+(?:\.\d+)?)$/.exec(line);
    if (match === null) return undefined;
    const atMs = Number(match[2]);
    this.#sequence.push({ number: Number(match[1]), atMs });
    return atMs;
  }

  /**
   * Requests that were never answered, between the last answer before the given moment and the newest
   * one. Unlike a gap it does not count what the pinging machine itself was too busy to ask.
   */
  lostAfter(sinceMs: number): number {
    const before = this.#sequence.findLast(({ atMs }) => atMs <= sinceMs);
    const after = this.#sequence.filter(({ atMs }) => atMs > sinceMs);
    const numbers = [...(before === undefined ? [] : [before]), ...after].map((one) => one.number);
    if (numbers.length === 0) return 0;
    const first = numbers.reduce((least, number) => Math.min(least, number));
    const last = numbers.reduce((most, number) => Math.max(most, number));
    return last - first + 1 - new Set(numbers).size;
  }
}

/** A client that reads a file over HTTP every 10 ms, or less often, each time on a new connection. */
export class HttpWatch extends Watch {
  constructor(
    nodes: Nodes,
    node: string,
    url: string,
    expected: string,
    { everyMs, answerMs } = { everyMs: 10, answerMs: 100 },
  ) {
    const script = new URL('./http-loop.js', import.meta.url).pathname;
    const words = [url, expected, String(everyMs), String(answerMs)];
    super(nodes.spawn(node, [process.execPath, script, ...words]));
  }

  protected override answeredAt(line: string): number | undefined {
    const match = /^ok (\d+(?:\.\d+)?)$/.exec(line);
    return match?.[1] === undefined ? undefined : Number(match[1]);
  }
}
