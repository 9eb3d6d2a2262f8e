import type { PulseHello, PulsePort } from '../agent/pulse-port.js';
import { UnderstudyError } from '../errors.js';
import type { AgentSocketParts } from '../pulse/agent-socket.js';
import type { AgentPort } from '../pulse/machine.js';
import type { PulseEvent, PulseReply, PulseRequest } from '../pulse/protocol.js';
import type { SimProcess } from './process.js';
import { msNs } from './time.js';

/** A line over the Unix socket; the same for all, so that none overtakes another. */
const lineNs = 0.1 * msNs;
const answerBudgetMs = 5_000;
const firstPauseMs = 20;
const longestPauseMs = 1_000;

/** Pulse's end: what one pulse process listens on. */
export class SimAgentPort implements AgentPort {
  readonly #process: SimProcess;
  readonly #parts: AgentSocketParts;
  #agent: SimPulseLink | undefined;

  constructor(process: SimProcess, parts: AgentSocketParts) {
    this.#process = process;
    this.#parts = parts;
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  emit(event: PulseEvent): void {
    this.#agent?.hear(this, event);
  }

  /** From an agent; a second one is refused while the first lasts. */
  ask(from: SimPulseLink, request: PulseRequest, answer: (reply: PulseReply) => void): void {
    this.#process.deliverAfter(lineNs, () => {
      this.#agent ??= from;
      if (this.#agent !== from) {
        answer({ kind: 'error', code: 'US_PULSE_BUSY', message: 'another agent is connected' });
        return;
      }
      this.#parts.handle(request).then(
        (reply) => {
          answer(reply);
          if (request.kind === 'hello') this.#parts.greeted();
        },
        (thrown: unknown) => answer(errorReply(thrown)),
      );
    });
  }

  leave(agent: SimPulseLink): void {
    this.#process.deliverAfter(lineNs, () => {
      if (this.#agent !== agent) return;
      this.#agent = undefined;
      this.#parts.left();
    });
  }
}

function errorReply(thrown: unknown): PulseReply {
  const code = thrown instanceof UnderstudyError ? thrown.code : 'US_PULSE_FAILED';
  return { kind: 'error', code, message: String(thrown) };
}

/** The agent's end: connects, says hello, and does so again whenever pulse went away. */
export class SimPulseLink implements PulsePort {
  readonly #process: SimProcess;
  /** The port that a new connection reaches. */
  readonly #find: () => SimAgentPort | undefined;
  readonly #connected: ((hello: PulseHello) => void)[] = [];
  readonly #events: ((event: PulseEvent) => void)[] = [];
  readonly #pending = new Set<(why: Error) => void>();
  #port: SimAgentPort | undefined;
  #hello: PulseHello | undefined;
  #pauseMs = firstPauseMs;

  constructor(process: SimProcess, find: () => SimAgentPort | undefined) {
    this.#process = process;
    this.#find = find;
  }

  start(): void {
    this.#connect();
  }

  onConnect(listener: (hello: PulseHello) => void): void {
    this.#connected.push(listener);
    if (this.#hello !== undefined) listener(this.#hello);
  }

  onEvent(listener: (event: PulseEvent) => void): void {
    this.#events.push(listener);
  }

  request(request: PulseRequest): Promise<PulseReply> {
    if (this.#hello === undefined) return Promise.reject(away('not connected'));
    return this.#ask(request);
  }

  hear(port: SimAgentPort, event: PulseEvent): void {
    this.#process.deliverAfter(lineNs, () => {
      if (this.#port !== port || this.#hello === undefined) return;
      for (const listener of this.#events) listener(event);
    });
  }

  /** The pulse at the other end is gone: the kernel closes the connection. */
  lost(port: SimAgentPort): void {
    this.#process.deliverAfter(lineNs, () => {
      if (this.#port === port) this.#again('pulse went away');
    });
  }

  /** This agent's process ends. */
  close(): void {
    this.#port?.leave(this);
    this.#port = undefined;
  }

  #connect(): void {
    const port = this.#find();
    if (port === undefined) {
      this.#again('nobody listens');
      return;
    }
    this.#port = port;
    this.#ask({ kind: 'hello' }).then(
      (reply) => {
        if (this.#port !== port) return;
        if (reply.kind === 'hello') this.#greeted(reply);
        else this.#again('refused');
      },
      (thrown: unknown) => {
        if (this.#port === port) this.#again(String(thrown));
      },
    );
  }

  #greeted(hello: PulseHello): void {
    this.#hello = hello;
    this.#pauseMs = firstPauseMs;
    for (const listener of this.#connected) listener(hello);
  }

  #again(why: string): void {
    this.#port?.leave(this);
    this.#port = undefined;
    this.#hello = undefined;
    for (const reject of this.#pending) reject(away(why));
    this.#pending.clear();
    this.#process.timers.after(this.#pauseMs, () => this.#connect());
    this.#pauseMs = Math.min(2 * this.#pauseMs, longestPauseMs);
  }

  #ask(request: PulseRequest): Promise<PulseReply> {
    const port = this.#port;
    if (port === undefined) return Promise.reject(away('not connected'));
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        if (!this.#pending.delete(reject)) return;
        cancel();
        finish();
      };
      const cancel = this.#process.timers.after(answerBudgetMs, () =>
        settle(() => reject(away('no answer in time'))),
      );
      this.#pending.add(reject);
      port.ask(this, request, (reply) =>
        this.#process.deliverAfter(lineNs, () => settle(() => resolve(reply))),
      );
    });
  }
}

function away(cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_PULSE_AWAY',
    action: 'cannot ask',
    object: 'pulse',
    cause,
    remedy: 'it is tried again',
  });
}
