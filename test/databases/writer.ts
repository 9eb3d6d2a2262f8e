import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * A client that writes without rest: the next transaction goes out when the last is acknowledged.
 * What was acknowledged is known here, outside of the host that may lose its power.
 */
export class Writer {
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  readonly #transaction: (seq: number) => string;
  readonly #waiting = new Set<() => void>();
  #acknowledged: number;
  #said = '';
  #resting = false;
  #ended = false;

  /**
   * @param child takes the text of a transaction on its standard input and answers `ack SEQ`
   * @param last the transaction to go on after
   */
  constructor(child: ChildProcess, transaction: (seq: number) => string, last: number) {
    this.#child = child;
    this.#transaction = transaction;
    this.#acknowledged = last;
    const { stdin, stdout, stderr } = child;
    if (stdin === null || stdout === null || stderr === null) throw new Error('a pipe is missing');
    // It may lose its reader at any moment: that is the point.
    stdin.on('error', () => {});
    stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-1_000);
    });
    this.#closed = new Promise<void>((resolve) => {
      child.once('error', () => resolve());
      child.once('close', () => resolve());
    }).then(() => {
      this.#ended = true;
      this.#tell();
    });
    createInterface({ input: stdout }).on('line', (line) => this.#take(line));
    this.#send();
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Waits until so many are acknowledged. @throws when the client ends before */
  async until(seq: number, limitMs: number): Promise<void> {
    const endMs = performance.now() + limitMs;
    while (this.#acknowledged < seq) {
      if (this.#ended) throw new Error(`a client ended: ${this.#said.trim()}`);
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`${this.#acknowledged} of ${seq} in ${limitMs} ms: ${this.#said}`));
        }, endMs - performance.now());
        this.#waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Sends no more, and waits until all that was sent is acknowledged. */
  async rest(limitMs: number): Promise<void> {
    this.#resting = true;
    await this.until(this.#acknowledged + 1, limitMs);
  }

  /** Ends it; what it acknowledged on its last breath counts. */
  async end(): Promise<number> {
    this.#child.kill('SIGKILL');
    await this.#closed;
    return this.#acknowledged;
  }

  #take(line: string): void {
    const found = /^ack (\d+)$/.exec(line);
    if (found === null) return;
    this.#acknowledged = Number(found[1]);
    this.#tell();
    if (!this.#resting) this.#send();
  }

  #send(): void {
    this.#child.stdin?.write(this.#transaction(this.#acknowledged + 1));
  }

  #tell(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}
