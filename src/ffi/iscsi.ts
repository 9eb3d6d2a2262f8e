import koffi from 'koffi';
import type { DecodedTask } from './iscsi-task.js';
import {
  expectNothing,
  expectReply,
  libiscsi,
  type Pointer,
  type PortalNode,
  type TargetNode,
} from './libiscsi.js';
import { closeOnExec } from './sockets.js';

/**
 * libiscsi (LGPL, Debian package libiscsi7), driven by events on the main loop: its socket is
 * watched with koffi.node.poll and served with iscsi_service(), so a target that hangs holds no
 * thread. What the commands mean is in src/storage; here are only calls, memory and time.
 */

/** libiscsi's statuses besides SCSI's own (iscsi/scsi-lowlevel.h, enum scsi_status). */
export const scsiStatus = {
  good: 0,
  checkCondition: 2,
  busy: 8,
  reservationConflict: 0x18,
  taskSetFull: 0x28,
  cancelled: 0x0f000000,
  error: 0x0f000001,
  timeout: 0x0f000002,
} as const;

export type DataDirection = 'none' | 'read' | 'write';

export interface ScsiCommand {
  readonly lun: number;
  /** 6, 10, 12 or 16 bytes. */
  readonly cdb: Uint8Array;
  /** Bytes wanted (read), or the data (write). */
  readonly transfer:
    | { readonly direction: 'none' }
    | { readonly direction: 'read'; readonly lengthBytes: number }
    | { readonly direction: 'write'; readonly data: Uint8Array };
}

export interface ScsiReply {
  readonly status: number;
  /** Of a CHECK CONDITION, else 0. */
  readonly senseKey: number;
  /** Additional sense code and qualifier as one number (0x2904), else 0. */
  readonly ascq: number;
  readonly data: Buffer;
}

export interface DiscoveredTarget {
  readonly target: string;
  readonly portals: readonly string[];
}

/** Instead of a text where it has none. */
export const noReason = 'libiscsi gave no reason';

/** The session ended: libiscsi's words, or ours for a time-out. */
export class IscsiError extends Error {
  /** `timeout`: no answer in time; `refused`: the login was answered and refused. */
  readonly kind: 'transport' | 'timeout' | 'refused' | 'aborted' | 'closed';
  /** Login status class and detail (RFC 7143, 11.13.5), e.g. 0x0203; undefined when there was no answer. */
  readonly loginStatus: number | undefined;

  constructor(kind: IscsiError['kind'], text: string) {
    super(text);
    this.name = 'IscsiError';
    this.kind = kind;
    const found = /Status: .*\((\d+)\)/.exec(text);
    this.loginStatus = found === null ? undefined : Number(found[1]);
  }
}

const SESSION_DISCOVERY = 1;
const SESSION_NORMAL = 2;
const POLLIN = 1;
const POLLOUT = 4;
const transferCodes = { none: 0, read: 1, write: 2 } as const;
/** Bound on what one context may have under way. */
const maxPending = 64;

type Poll = ReturnType<typeof koffi.node.poll>;

export class IscsiContext {
  readonly #lib = libiscsi();
  readonly #initiator: string;
  #context: Pointer;
  #poll: Poll | undefined;
  #polledFd = -1;
  /** What was asked and not yet answered, by token. */
  readonly #waiting = new Map<number, (failure: IscsiError) => void>();
  /** Memory that libiscsi may still look at until the call that is running returns. */
  #release: (() => void)[] = [];
  #serving = false;
  #ended: IscsiError | undefined;

  /** @param initiator the name it logs in with: never one that another host uses */
  constructor(initiator: string) {
    this.#initiator = initiator;
    this.#context = this.#lib.create(initiator) as Pointer;
    if (this.#context === null) throw new Error(`iscsi_create_context(${initiator}) failed`);
    // libiscsi's own time-outs count whole seconds of the wall clock, and so end up to one early.
    this.#lib.setTimeout(this.#context, 0);
    // A session that lost its connection is over: what it was to do may no longer be right.
    this.#lib.setNoReconnect(this.#context, 1);
  }

  /**
   * CHAP for the login to come; with `mutual` the target has to prove itself, too. The secrets are
   * copied.
   */
  authenticate(
    own: { readonly user: string; readonly secret: string },
    mutual: { readonly user: string; readonly secret: string } | undefined,
  ): void {
    this.#lib.setUser(this.#open(), own.user, own.secret);
    if (mutual !== undefined) this.#lib.setTargetUser(this.#open(), mutual.user, mutual.secret);
  }

  get initiator(): string {
    return this.#initiator;
  }

  /** TCP connect and login. With no target: a discovery session. */
  async login(portal: string, target: string | undefined, budget: Budget): Promise<void> {
    const { setTarget, setSessionType, fullConnect, callback } = this.#lib;
    setSessionType(this.#open(), target === undefined ? SESSION_DISCOVERY : SESSION_NORMAL);
    if (target !== undefined) setTarget(this.#open(), target);
    // LUN -1: no TEST UNIT READY as part of the login, so that its failures are told apart.
    const status = await this.#call('login', budget, (token) =>
      fullConnect(this.#open(), portal, -1, callback, token),
    );
    if (status.status !== scsiStatus.good) {
      const text = this.#errorText();
      const failure = new IscsiError('transport', text);
      throw failure.loginStatus === undefined ? failure : new IscsiError('refused', text);
    }
  }

  /** SendTargets in a discovery session. */
  async discover(budget: Budget): Promise<readonly DiscoveredTarget[]> {
    const { discover, callback, targets, portals } = this.#lib;
    const found: DiscoveredTarget[] = [];
    const { status } = await this.#call(
      'discovery',
      budget,
      (token) => discover(this.#open(), callback, token),
      // The list belongs to libiscsi and is gone when the callback returns.
      (data) => {
        for (let at = data; at !== null; ) {
          const node = koffi.decode(at, targets) as TargetNode;
          const addresses: string[] = [];
          for (let next = node.portals; next !== null; ) {
            const portal = koffi.decode(next, portals) as PortalNode;
            addresses.push(portal.portal);
            next = portal.next;
          }
          found.push({ target: node.target_name, portals: addresses });
          at = node.next;
        }
      },
    );
    if (status !== scsiStatus.good) throw new IscsiError('transport', this.#errorText());
    return found;
  }

  /** Sends one command. A status other than good is a reply, not an error. */
  async command(command: ScsiCommand, budget: Budget): Promise<ScsiReply> {
    const { createTask, freeTask, callback, task: taskType, outgoing } = this.#lib;
    const { transfer, lun } = command;
    const cdb = Buffer.from(command.cdb);
    const length =
      transfer.direction === 'write'
        ? transfer.data.length
        : transfer.direction === 'read'
          ? transfer.lengthBytes
          : 0;
    const task = createTask(cdb.length, cdb, transferCodes[transfer.direction], length) as Pointer;
    if (task === null) throw new Error('scsi_create_task failed');
    const memory: unknown[] = [];
    let data: unknown = null;
    if (transfer.direction === 'write') {
      const bytes = koffi.alloc('uint8', length);
      koffi.encode(bytes, koffi.array('uint8', length), transfer.data);
      data = koffi.alloc(outgoing, 1);
      koffi.encode(data, outgoing, { size: length, data: bytes });
      memory.push(bytes, data);
    }
    let reply: Omit<ScsiReply, 'status'> = { senseKey: 0, ascq: 0, data: Buffer.alloc(0) };
    const { status } = await this.#call(
      'command',
      budget,
      (token) => this.#lib.command(this.#open(), lun, task, callback, data, token),
      () => {
        const done = koffi.decode(task, taskType) as DecodedTask;
        reply = { senseKey: done.sense_key, ascq: done.ascq, data: received(done) };
      },
      () => {
        freeTask(task);
        for (const piece of memory) koffi.free(piece);
      },
    );
    if (status === scsiStatus.timeout) throw new IscsiError('timeout', 'no answer in time');
    if (status === scsiStatus.error || status === scsiStatus.cancelled) {
      throw new IscsiError('transport', this.#errorText());
    }
    return status === scsiStatus.checkCondition
      ? { status, ...reply }
      : { status, senseKey: 0, ascq: 0, data: reply.data };
  }

  async logout(budget: Budget): Promise<void> {
    const { logout, callback } = this.#lib;
    await this.#call('logout', budget, (token) => logout(this.#open(), callback, token));
  }

  /** Ends everything at once: what is under way fails, the connection is closed. Idempotent. */
  destroy(reason = new IscsiError('closed', 'the session was closed')): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#poll?.close();
    this.#poll = undefined;
    for (const fail of this.#waiting.values()) fail(reason);
    if (!this.#serving) this.#free();
  }

  /** Frees the context; never from inside its own service call. Calls back what is pending. */
  #free(): void {
    if (this.#context === null) return;
    this.#lib.destroy(this.#context);
    this.#context = null;
    this.#releaseMemory();
  }

  #open(): Pointer {
    if (this.#ended !== undefined) throw this.#ended;
    return this.#context;
  }

  #errorText(): string {
    const text =
      this.#context === null ? '' : (this.#lib.errorText(this.#context) as string | null);
    return text?.trim() || noReason;
  }

  /** Starts one call and waits for its callback, the budget or the end of the context. */
  #call(
    what: string,
    budget: Budget,
    start: (token: number) => number,
    read: (data: Pointer) => void = () => {},
    release: () => void = () => {},
  ): Promise<{ status: number }> {
    const refusal = this.#refusal(what, budget);
    if (refusal !== undefined) {
      release();
      return Promise.reject(refusal);
    }
    return new Promise((resolve, reject) => {
      const token = expectReply((status, data) => {
        try {
          if (this.#waiting.has(token)) read(data);
        } finally {
          this.#release.push(release);
          settle();
          resolve({ status });
        }
      });
      const settle = () => {
        clearTimeout(timer);
        budget.signal?.removeEventListener('abort', onAbort);
        this.#waiting.delete(token);
      };
      // A command that does not answer leaves the session in an unknown state: it ends with it.
      const timer = setTimeout(() => {
        this.destroy(new IscsiError('timeout', `no answer to ${what} in ${budget.timeoutMs} ms`));
      }, budget.timeoutMs);
      const onAbort = () => this.destroy(new IscsiError('aborted', `${what} was given up`));
      budget.signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.set(token, (failure) => {
        settle();
        reject(failure);
      });
      this.#serving = true;
      const refused = start(token) !== 0;
      this.#serving = false;
      if (refused) {
        expectNothing(token);
        settle();
        release();
        reject(new IscsiError('transport', this.#errorText()));
      }
      this.#afterService();
    });
  }

  #refusal(what: string, budget: Budget): IscsiError | undefined {
    if (this.#ended !== undefined) return this.#ended;
    if (budget.signal?.aborted) return new IscsiError('aborted', `${what} was given up`);
    if (this.#waiting.size < maxPending) return undefined;
    return new IscsiError('transport', `more than ${maxPending} commands under way`);
  }

  #serve(events: number): void {
    if (this.#ended !== undefined || this.#serving) return;
    this.#serving = true;
    const broken = (this.#lib.service(this.#context, events) as number) < 0;
    this.#serving = false;
    if (broken && this.#ended === undefined) {
      this.destroy(new IscsiError('transport', this.#errorText()));
    }
    this.#afterService();
  }

  #afterService(): void {
    if (this.#ended !== undefined) {
      this.#free();
      return;
    }
    this.#releaseMemory();
    this.#arm();
  }

  #releaseMemory(): void {
    const release = this.#release;
    this.#release = [];
    for (const free of release) free();
  }

  /** Watches what libiscsi wants watched; the descriptor changes when it connects. */
  #arm(): void {
    const fd = this.#lib.getFd(this.#context) as number;
    const wanted = this.#lib.whichEvents(this.#context) as number;
    if (fd !== this.#polledFd) {
      this.#poll?.close();
      this.#poll = undefined;
      this.#polledFd = fd;
    }
    if (fd < 0) return;
    // libiscsi leaves it open to every program that is started from here on: whoever had it could write to the
    // LUN, and would keep the session after this process. Not only when it changed: a new one may have its number.
    closeOnExec(fd);
    const options = { readable: (wanted & POLLIN) !== 0, writable: (wanted & POLLOUT) !== 0 };
    // koffi 3.3.4 calls with (status, events); its types say (events). A negative status (POLLERR)
    // stops the watch: libiscsi is told of both directions and finds the error itself.
    const onEvents = ((status: number, events?: { readable: boolean; writable: boolean }) =>
      this.#serve(
        status < 0
          ? POLLIN | POLLOUT
          : (events?.readable ? POLLIN : 0) | (events?.writable ? POLLOUT : 0),
      )) as unknown as () => void;
    if (!options.readable && !options.writable) {
      this.#poll?.stop();
    } else if (this.#poll === undefined) {
      this.#poll = koffi.node.poll(fd, options, onEvents);
    } else {
      this.#poll.start(options, onEvents);
    }
  }
}

/** How long one call may take, and who may give it up. Both end the session. */
export interface Budget {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** The bytes that came in, copied: they are freed with the task. */
function received(task: DecodedTask): Buffer {
  if (task.datain_size <= 0 || task.datain === null) return Buffer.alloc(0);
  return Buffer.from(Buffer.from(koffi.view(task.datain, task.datain_size)));
}
