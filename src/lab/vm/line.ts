import { closeSync, openSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';

/** What comes back on a line: an answer, an error or, from the machine itself, the news of an event. */
export interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  /** The machine's greeting (qemu-qmp-ref(7)). */
  readonly QMP?: object;
}

/** For a question and its answer; an emulated processor that others wait for takes its time. */
const answerMs = 30_000;

/** One of a machine's two lines: JSON, a line each way. Both ends serve one caller at a time. */
export class Line {
  readonly #socket: Socket;
  readonly #lines: Interface;
  readonly #timer: NodeJS.Timeout;
  /** What waits for an answer; at most one. */
  #pending:
    | { wanted(one: Answer): boolean; resolve(one: Answer): void; reject(why: Error): void }
    | undefined;
  #broken: Error | undefined;

  /** By the folder's descriptor: a path of a long lab's name would not fit into an address (unix(7)). */
  constructor(folder: string, name: string) {
    const fd = openSync(folder, 'r');
    this.#socket = createConnection(`/proc/self/fd/${fd}/${name}`);
    this.#socket.once('connect', () => closeSync(fd));
    this.#socket.once('error', (error) => {
      if (this.#socket.connecting || this.#socket.pending) closeSync(fd);
      this.#fail(error);
    });
    this.#socket.once('close', () => this.#fail(new Error('the machine’s line is closed')));
    this.#lines = createInterface({ input: this.#socket });
    // The stream's error is the socket's, which is heard above.
    this.#lines.on('error', () => undefined);
    this.#lines.on('line', (text) => this.#hear(text));
    this.#timer = setTimeout(() => {
      this.#fail(new Error(`the machine does not answer within ${answerMs} ms`));
      this.#socket.destroy();
    }, answerMs);
  }

  send(execute: string, argument?: object): void {
    this.#socket.write(`${JSON.stringify({ execute, arguments: argument })}\n`);
  }

  /** The next line that is wanted; others are passed over. */
  answer(wanted: (one: Answer) => boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#broken !== undefined) return reject(this.#broken);
      this.#pending = { wanted, resolve, reject };
    });
  }

  /** @throws {Error} with the other end's words */
  async ask<T>(execute: string, argument?: object): Promise<T> {
    this.send(execute, argument);
    const isAnswer = (one: Answer) => one.return !== undefined || one.error !== undefined;
    const { return: value, error } = await this.answer(isAnswer);
    if (error !== undefined) throw new Error(error.desc);
    return value as T;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#lines.close();
    this.#socket.destroy();
  }

  #hear(text: string): void {
    const one = parsed(text);
    const pending = this.#pending;
    if (one === undefined || pending === undefined || !pending.wanted(one)) return;
    this.#pending = undefined;
    pending.resolve(one);
  }

  #fail(why: Error): void {
    this.#broken ??= why;
    this.#pending?.reject(this.#broken);
    this.#pending = undefined;
  }
}

/** Undefined for the rest of a line that an earlier caller did not wait for. */
function parsed(text: string): Answer | undefined {
  try {
    return JSON.parse(text) as Answer;
  } catch {
    return undefined;
  }
}
