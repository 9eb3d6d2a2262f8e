import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Test } from 'tap';

/** What a target answered to one command, as it passed by. */
export interface Answer {
  readonly initiator: string;
  /** Whether the command would have changed the LUN. */
  readonly writes: boolean;
  /** SAM-5 5.3.1: 0 good, 0x18 reservation conflict, 0x40 task aborted. */
  readonly status: number;
}

export interface ProxyAddress {
  readonly port: number;
  readonly targetPort: number;
}

export type ProxyOrder = 'cut' | 'restore' | 'hang up' | 'damage' | 'tell';

export interface ProxySeen {
  readonly answers: readonly Answer[];
  /** What targets agreed to as digest of headers, one for each login. */
  readonly headerDigests: readonly string[];
  /** Writes that are to be damaged still. */
  readonly damage: number;
}

/**
 * Stands before a target and reads what passes (RFC 7143, 11). Can be cut, as if the target had gone, and
 * restored; and can damage what passes. In a thread of its own: a test that waits for a write to its
 * volume, which only this can carry, would wait for ever.
 */
export class IscsiProxy {
  readonly portal: string;
  readonly #worker: Worker;

  private constructor(worker: Worker, portal: string) {
    this.#worker = worker;
    this.portal = portal;
  }

  static async start(t: Pick<Test, 'teardown'>, address: ProxyAddress): Promise<IscsiProxy> {
    const program = new URL('./iscsi-proxy-thread.js', import.meta.url);
    const worker = new Worker(program, { workerData: address, execArgv: [] });
    t.teardown(() => worker.terminate());
    await once(worker, 'message');
    return new IscsiProxy(worker, `127.0.0.1:${address.port}`);
  }

  /** Ends every connection and refuses each new one. */
  async cut(): Promise<void> {
    await this.#order('cut');
  }

  /** Ends every connection, takes each new one and ends it soon, as a router does whose target is away. */
  async hangUp(): Promise<void> {
    await this.#order('hang up');
  }

  async restore(): Promise<void> {
    await this.#order('restore');
  }

  /** One more write goes to another block than it was meant for. */
  async damageOne(): Promise<void> {
    await this.#order('damage');
  }

  seen(): Promise<ProxySeen> {
    return this.#order('tell');
  }

  /** One at a time: an answer does not tell what it is to. */
  async #order(order: ProxyOrder): Promise<ProxySeen> {
    const answered = once(this.#worker, 'message');
    this.#worker.postMessage(order);
    const [seen] = (await answered) as [ProxySeen];
    return seen;
  }
}
