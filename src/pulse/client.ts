import { connect, type Socket } from 'node:net';
import { UnderstudyError } from '../errors.js';
import { LineReader } from './lines.js';
import type { PulseEvent, PulseMessageToAgent, PulseReply, PulseRequest } from './protocol.js';

type Hello = Extract<PulseReply, { kind: 'hello' }>;

export interface PulseClientOptions {
  readonly path: string;
  /** How long an answer may take. Default 5 000; `stop-acks` waits for a running promise. */
  readonly timeoutMs?: number;
  /** Pause between attempts to connect, doubled from the first to the last. Default 20, 1 000. */
  readonly firstPauseMs?: number;
  readonly lastPauseMs?: number;
}

interface Pending {
  resolve(reply: PulseReply): void;
  reject(error: Error): void;
  readonly timer: NodeJS.Timeout;
}

const mostPending = 256;
const longestLineBytes = 16 * 1024 * 1024;

/**
 * The agent's end of the pulse socket: connects, says hello, and does so again whenever pulse went
 * away. What pulse was told before is not repeated: `onConnect` is the place for that.
 */
export class PulseClient {
  readonly #options: Required<PulseClientOptions>;
  readonly #connected: ((hello: Hello) => void)[] = [];
  readonly #events: ((event: PulseEvent) => void)[] = [];
  readonly #pending = new Map<number, Pending>();
  #socket: Socket | undefined;
  #hello: Hello | undefined;
  #lastId = 0;
  #pauseMs: number;
  #retry: NodeJS.Timeout | undefined;
  #running = false;
  #whyAway = 'not connected yet';

  constructor(options: PulseClientOptions) {
    this.#options = { timeoutMs: 5_000, firstPauseMs: 20, lastPauseMs: 1_000, ...options };
    this.#pauseMs = this.#options.firstPauseMs;
  }

  /** What pulse said last; undefined while it is away. */
  get hello(): Hello | undefined {
    return this.#hello;
  }

  start(signal: AbortSignal): void {
    if (signal.aborted || this.#running) return;
    this.#running = true;
    signal.addEventListener('abort', () => this.stop(), { once: true });
    this.#connect();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#retry);
    this.#whyAway = 'stopped';
    this.#socket?.destroy();
    this.#lost();
  }

  /** Called at every (re)connection; at once if connected already. */
  onConnect(listener: (hello: Hello) => void): void {
    this.#connected.push(listener);
    if (this.#hello !== undefined) listener(this.#hello);
  }

  onEvent(listener: (event: PulseEvent) => void): void {
    this.#events.push(listener);
  }

  /**
   * Resolves with pulse's reply, an `error` reply included.
   *
   * @throws {UnderstudyError} US_PULSE_AWAY (it may or may not have been done), US_PULSE_TIMEOUT
   */
  request(request: PulseRequest): Promise<PulseReply> {
    if (this.#hello === undefined) return Promise.reject(this.#away(request.kind));
    return new Promise((resolve, reject) => this.#ask(request, resolve, reject));
  }

  #connect(): void {
    const socket = connect(this.#options.path);
    const reader = new LineReader(longestLineBytes);
    this.#socket = socket;
    socket.once('connect', () => this.#greet(socket));
    socket.on('data', (chunk: Buffer) => {
      const lines = reader.feed(chunk);
      if (lines === undefined) socket.destroy();
      for (const line of lines ?? []) this.#take(line);
    });
    socket.on('error', (error) => {
      this.#whyAway = error.message;
    });
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#lost();
      if (!this.#running) return;
      this.#retry = setTimeout(() => this.#connect(), this.#pauseMs);
      this.#pauseMs = Math.min(2 * this.#pauseMs, this.#options.lastPauseMs);
    });
  }

  /** Done within the callback, so that listeners hear the hello before any event after it. */
  #greet(socket: Socket): void {
    const refuse = (why: string) => {
      this.#whyAway = why;
      socket.destroy();
    };
    const take = (reply: PulseReply) => {
      if (reply.kind !== 'hello') {
        refuse(reply.kind === 'error' ? reply.message : `answered ${reply.kind} to hello`);
        return;
      }
      this.#hello = reply;
      this.#pauseMs = this.#options.firstPauseMs;
      for (const listener of this.#connected) listener(reply);
    };
    this.#ask({ kind: 'hello' }, take, (error) => refuse(error.message));
  }

  #ask(
    request: PulseRequest,
    resolve: (reply: PulseReply) => void,
    reject: (error: Error) => void,
  ): void {
    const socket = this.#socket;
    if (socket === undefined || this.#pending.size >= mostPending) {
      reject(this.#away(request.kind));
      return;
    }
    const id = ++this.#lastId;
    const timer = setTimeout(() => {
      this.#pending.delete(id);
      reject(this.#late(request.kind));
    }, this.#options.timeoutMs);
    this.#pending.set(id, { resolve, reject, timer });
    socket.write(`${JSON.stringify({ id, request })}\n`);
  }

  #take(line: string): void {
    let message: PulseMessageToAgent;
    try {
      message = JSON.parse(line) as PulseMessageToAgent;
    } catch {
      this.#whyAway = 'a line of pulse was not JSON';
      this.#socket?.destroy();
      return;
    }
    if ('event' in message) {
      for (const listener of this.#events) listener(message.event);
      return;
    }
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    clearTimeout(pending?.timer);
    pending?.resolve(message.reply);
  }

  #lost(): void {
    this.#socket = undefined;
    this.#hello = undefined;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(this.#away('request'));
    }
    this.#pending.clear();
  }

  #away(what: string): UnderstudyError {
    return new UnderstudyError({
      code: 'US_PULSE_AWAY',
      action: `cannot ask pulse (${what}) on`,
      object: this.#options.path,
      cause: this.#whyAway,
      remedy: 'see systemctl status understudy-pulse; it is tried again',
    });
  }

  #late(what: string): UnderstudyError {
    return new UnderstudyError({
      code: 'US_PULSE_TIMEOUT',
      action: `no answer of pulse (${what}) on`,
      object: this.#options.path,
      cause: `not within ${this.#options.timeoutMs} ms`,
      remedy: 'see systemctl status understudy-pulse; it is tried again',
    });
  }
}
