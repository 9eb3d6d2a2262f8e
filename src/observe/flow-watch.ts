import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { end, type Nodes } from './observers.js';

/** A connection that a client tried to open. */
export interface Opened {
  readonly port: number;
  /** Wall clock, ms, of its first packet. */
  readonly atMs: number;
  readonly how: 'taken' | 'refused';
}

/** A client that opens a connection every ms, each from a port of its own, to whoever answers. */
export class FlowWatch {
  readonly #child: ChildProcess;
  readonly #flows: Opened[] = [];
  readonly #waiters = new Set<() => void>();

  constructor(nodes: Nodes, node: string, address: string, port: number) {
    const script = new URL('./flow-loop.js', import.meta.url).pathname;
    const argv = [process.execPath, script, address, String(port), '10000', '59999'];
    this.#child = nodes.spawn(node, argv);
    if (this.#child.stdout === null) throw new Error('the watch needs the output of its process');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const [, from, at, how] = /^(\d+) (\d+\.\d+) (taken|refused)$/.exec(line) ?? [];
      if (how !== 'taken' && how !== 'refused') return;
      this.#flows.push({ port: Number(from), atMs: Number(at), how });
      for (const waiter of this.#waiters) waiter();
    });
  }

  /** In the order in which they were answered. */
  get flows(): readonly Opened[] {
    return this.#flows;
  }

  /** Resolves when `condition` holds, looked at after each flow; rejects after `timeoutMs`. */
  until(what: string, condition: () => boolean, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const over = (): void => {
        this.#waiters.delete(look);
        clearTimeout(timer);
      };
      const look = () => {
        if (!condition()) return;
        over();
        resolve();
      };
      const timer = setTimeout(() => {
        over();
        reject(new Error(`waited ${timeoutMs} ms in vain until ${what}`));
      }, timeoutMs);
      this.#waiters.add(look);
      look();
    });
  }

  async stop(): Promise<void> {
    await end(this.#child, 'SIGINT');
  }
}
