import { messageOf, UnderstudyError } from '../../errors.js';
import { errno, SystemCallError } from '../../ffi/libc.js';
import { closeSocket, SocketWatch, sendTo, sendToOffThread } from '../../ffi/sockets.js';
import { CallOffs } from './call-offs.js';
import {
  abortedError,
  closedError,
  KernelError,
  overflowError,
  type Purpose,
  timeoutError,
} from './error.js';
import { type Answer, decodeDatagram, encodeRequest, NLM_F_DUMP, type Request } from './message.js';
import { openRouteSocket, receiveFromKernel } from './socket.js';

export interface TransportOptions {
  /** Default 4 MiB. */
  readonly receiveBufferBytes?: number;
  /** Requests that may be unanswered at a time. Default 64. */
  readonly window?: number;
  /** Bound on one request, from when it was sent. Default 5000. */
  readonly timeoutMs?: number;
}

export interface RequestOptions {
  /** What it is for, told in its error. */
  readonly purpose: Purpose;
  readonly signal?: AbortSignal | undefined;
  /** For what the kernel works on for milliseconds: send from a thread of libuv's pool. */
  readonly slow?: boolean;
}

const mostQueued = 16_384;

interface Pending {
  readonly request: Request;
  readonly options: RequestOptions;
  readonly parts: Buffer[];
  interrupted: boolean;
  /** Answered, or given up: an answer that still comes only frees its place in the window. */
  settled: boolean;
  timer: NodeJS.Timeout | undefined;
  readonly settle: (outcome: readonly Buffer[] | Error) => void;
}

/** Something changed while the kernel was listing; the list may be inconsistent. */
export class DumpInterrupted extends Error {}

/**
 * One rtnetlink socket: requests out, answers back, matched by sequence number.
 *
 * rtnetlink works on a request while it is being sent, so its answer is there when `send` returns
 * and is read at once; the poll is for what comes later. Requests made in the same tick go out
 * together, at most `window` of them, so that their answers fit the receive buffer. Should answers
 * be dropped all the same (ENOBUFS), everything that waits fails with US_NET_OVERFLOW, but only
 * after the queue was read empty: until then the kernel goes on dropping silently.
 */
export class NetlinkTransport {
  readonly #fd: number;
  readonly #window: number;
  readonly #timeoutMs: number;
  readonly #watch: SocketWatch;
  readonly #queue: Pending[] = [];
  readonly #inFlight = new Map<number, Pending>();
  readonly #callOffs = new CallOffs<Pending>((pending) => {
    pending.timer?.unref();
    this.#settle(pending, abortedError(pending.options.purpose));
  });
  /** Lists being read. The kernel makes one at a time for a socket (netlink_dump_start: EBUSY). */
  #dumping = 0;
  #sequence = 0;
  #pumpScheduled = false;
  #sendingOffThread = 0;
  #closed = false;

  /** Opens the socket in the calling thread's network namespace. */
  constructor(options: TransportOptions = {}) {
    this.#window = options.window ?? 64;
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    this.#fd = openRouteSocket(options.receiveBufferBytes ?? 4 * 1024 * 1024);
    this.#watch = new SocketWatch(this.#fd, () => this.#drain());
  }

  /**
   * @returns the bodies of the messages that came before the acknowledgement
   * @throws {KernelError} what the kernel refused, in its own words
   * @throws {UnderstudyError} US_NET_OVERFLOW, US_NET_TIMEOUT, US_NET_ABORTED, US_NET_CLOSED
   */
  request(request: Request, options: RequestOptions): Promise<readonly Buffer[]> {
    return new Promise((resolve, reject) => {
      const { signal, purpose } = options;
      if (this.#closed) return reject(closedError(purpose));
      if (signal?.aborted) return reject(abortedError(purpose));
      if (this.#queue.length >= mostQueued) return reject(overloadedError(purpose));
      const pending = newPending(request, options, (outcome) => {
        if (outcome instanceof Error) reject(outcome);
        else resolve(outcome);
      });
      if (signal !== undefined) this.#callOffs.add(signal, pending);
      this.#queue.push(pending);
      this.#schedulePump();
    });
  }

  /**
   * The same in one synchronous step, for what must happen while this thread stands in another
   * network namespace.
   */
  requestNow(request: Request, purpose: Purpose): readonly Buffer[] {
    let result: readonly Buffer[] | Error = closedError(purpose);
    if (!this.#closed) {
      result = timeoutError(purpose, 0);
      const pending = newPending(request, { purpose }, (outcome) => {
        result = outcome;
      });
      this.#send(pending);
      this.#drain();
      pending.settled = true;
    }
    if (result instanceof Error) throw result;
    return result;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch.close();
    for (const pending of [...this.#queue, ...this.#inFlight.values()]) {
      clearTimeout(pending.timer);
      this.#settle(pending, closedError(pending.options.purpose));
    }
    this.#queue.length = 0;
    this.#inFlight.clear();
    this.#closeDescriptor();
  }

  /** Not while another thread is sending on it: the number could mean another file by then. */
  #closeDescriptor(): void {
    if (this.#closed && this.#sendingOffThread === 0) closeSocket(this.#fd);
  }

  #schedulePump(): void {
    if (this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    queueMicrotask(() => this.#pump());
  }

  #pump(): void {
    this.#pumpScheduled = false;
    if (this.#closed) return;
    while (this.#inFlight.size < this.#window) {
      const next = this.#queue[0];
      if (next === undefined) break;
      if (isDump(next.request) && this.#dumping > 0) {
        this.#drain();
        if (this.#dumping > 0) break;
      }
      this.#queue.shift();
      if (!next.settled) this.#send(next);
    }
    this.#drain();
    for (const [sequence, pending] of this.#inFlight) this.#startTimer(sequence, pending);
  }

  #send(pending: Pending): void {
    this.#sequence = (this.#sequence % 0xffff_ffff) + 1;
    const sequence = this.#sequence;
    const bytes = encodeRequest(pending.request, sequence);
    this.#inFlight.set(sequence, pending);
    if (isDump(pending.request)) this.#dumping += 1;
    if (pending.options.slow === true) {
      this.#sendingOffThread += 1;
      sendToOffThread(this.#fd, bytes)
        .then(
          () => this.#closed || this.#drain(),
          (thrown: unknown) => this.#failed(sequence, thrown),
        )
        .finally(() => {
          this.#sendingOffThread -= 1;
          this.#closeDescriptor();
        });
      return;
    }
    try {
      sendTo(this.#fd, bytes, null);
    } catch (thrown) {
      this.#failed(sequence, thrown);
    }
  }

  #failed(sequence: number, thrown: unknown): void {
    const pending = this.#inFlight.get(sequence);
    if (pending === undefined) return;
    const number = thrown instanceof SystemCallError ? thrown.errno : 0;
    this.#end(
      sequence,
      pending,
      new KernelError(pending.options.purpose, number, messageOf(thrown)),
    );
  }

  /** Reads until the queue is empty. */
  #drain(): void {
    let overflowed = false;
    while (!this.#closed) {
      try {
        const datagram = receiveFromKernel(this.#fd);
        if (datagram === undefined) break;
        for (const answer of decodeDatagram(datagram)) this.#answered(answer);
      } catch (thrown) {
        if (thrown instanceof SystemCallError && thrown.errno === errno.ENOBUFS) overflowed = true;
        else this.#failAll((purpose) => brokenError(purpose, thrown));
        if (thrown instanceof SystemCallError && thrown.errno !== errno.ENOBUFS) break;
      }
    }
    if (overflowed) this.#failAll(overflowError);
    this.#continue();
  }

  /** The rest of a long queue lets other work of this thread go first. */
  #continue(): void {
    if (this.#queue.length === 0 || this.#pumpScheduled) return;
    this.#pumpScheduled = true;
    setImmediate(() => this.#pump());
  }

  #answered(answer: Answer): void {
    const pending = this.#inFlight.get(answer.sequence);
    if (pending === undefined) return;
    pending.interrupted ||= answer.interrupted;
    if (answer.kind === 'part') {
      pending.parts.push(answer.body);
      return;
    }
    const { purpose } = pending.options;
    if (answer.errno !== 0) {
      this.#end(answer.sequence, pending, new KernelError(purpose, answer.errno, answer.words));
    } else if (pending.interrupted) {
      this.#end(answer.sequence, pending, new DumpInterrupted());
    } else {
      this.#end(answer.sequence, pending, pending.parts);
    }
  }

  #failAll(error: (purpose: Purpose) => Error): void {
    for (const [sequence, pending] of [...this.#inFlight]) {
      this.#end(sequence, pending, error(pending.options.purpose));
    }
  }

  #startTimer(sequence: number, pending: Pending): void {
    pending.timer ??= setTimeout(() => {
      this.#end(sequence, pending, timeoutError(pending.options.purpose, this.#timeoutMs));
      this.#continue();
    }, this.#timeoutMs);
  }

  #end(sequence: number, pending: Pending, outcome: readonly Buffer[] | Error): void {
    this.#inFlight.delete(sequence);
    if (isDump(pending.request)) this.#dumping -= 1;
    clearTimeout(pending.timer);
    this.#settle(pending, outcome);
  }

  #settle(pending: Pending, outcome: readonly Buffer[] | Error): void {
    if (pending.settled) return;
    pending.settled = true;
    const { signal } = pending.options;
    if (signal !== undefined) this.#callOffs.delete(signal, pending);
    pending.settle(outcome);
  }
}

function isDump(request: Request): boolean {
  return (request.flags & NLM_F_DUMP) === NLM_F_DUMP;
}

function newPending(request: Request, options: RequestOptions, settle: Pending['settle']): Pending {
  return {
    request,
    options,
    parts: [],
    interrupted: false,
    settled: false,
    timer: undefined,
    settle,
  };
}

function overloadedError(purpose: Purpose): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_OVERLOADED',
    ...purpose,
    cause: `${mostQueued} requests to the kernel are waiting already`,
    remedy: 'wait; if this persists, report it with the log of the agent',
  });
}

function brokenError(purpose: Purpose, thrown: unknown): UnderstudyError {
  return new UnderstudyError(
    {
      code: 'US_NET_BROKEN',
      ...purpose,
      cause: `the answer could not be read: ${messageOf(thrown)}`,
      remedy: 'report this with the kernel version: uname -a',
    },
    { cause: thrown },
  );
}
