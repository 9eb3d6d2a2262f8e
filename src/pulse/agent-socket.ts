import { chmodSync, mkdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { messageOf, UnderstudyError } from '../errors.js';
import type { Counters } from './counters.js';
import { LineReader } from './lines.js';
import type { PulseEvent, PulseMessageToAgent, PulseReply, PulseRequest } from './protocol.js';
import { parseRequest } from './requests.js';

export interface AgentSocketParts {
  readonly counters: Counters;
  /** Thrown errors become error replies. */
  handle(request: PulseRequest): Promise<PulseReply>;
  /** An agent said hello and has its answer. */
  greeted(): void;
  /** The agent's connection ended. */
  left(): void;
}

/** `control` of a thousand hosts with their stopped incarnations stays well below. */
const longestLineBytes = 4 * 1024 * 1024;
const mostClients = 16;
/** A reader that leaves this much unread is stuck; it may connect again. */
const mostUnreadBytes = 8 * 1024 * 1024;
const mostUnanswered = 256;

/**
 * The Unix socket on which this host's agent speaks to pulse (mode 0600). The first connection
 * that asks for more than `status` is the agent; a second one is refused while it lasts, since two
 * agents of one controller at once could vote behind each other's back (rule 8).
 */
export class AgentSocket {
  readonly #path: string;
  readonly #parts: AgentSocketParts;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  #agent: Socket | undefined;

  constructor(path: string, parts: AgentSocketParts) {
    this.#path = path;
    this.#parts = parts;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** @throws {UnderstudyError} US_PULSE_RUNNING, US_PULSE_SOCKET */
  async start(): Promise<void> {
    const path = this.#path;
    if (await answers(path)) {
      throw new UnderstudyError({
        code: 'US_PULSE_RUNNING',
        action: 'cannot listen on',
        object: path,
        cause: 'another pulse answers there',
        remedy: 'stop it first: systemctl stop understudy-pulse',
      });
    }
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
      removeStale(path);
      await this.#listen(path);
    } catch (thrown) {
      throw new UnderstudyError(
        {
          code: 'US_PULSE_SOCKET',
          action: 'cannot listen on',
          object: path,
          cause: messageOf(thrown),
          remedy: 'run as root, on a file system that is writable and holds sockets',
        },
        { cause: thrown },
      );
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#clients) socket.destroy();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Events nobody listens to are lost: hello and status tell the state. */
  emit(event: PulseEvent): void {
    if (this.#agent !== undefined) this.#write(this.#agent, { event });
  }

  async #listen(path: string): Promise<void> {
    // The umask makes it 0600 from the first moment on; chmod only says so twice.
    const umask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        this.#server.listen(path, () => {
          this.#server.off('error', reject);
          resolve();
        });
      });
    } finally {
      process.umask(umask);
    }
    this.#server.on('error', () => this.#parts.counters.add('socket-failed'));
    chmodSync(path, 0o600);
  }

  #serve(socket: Socket): void {
    const { counters } = this.#parts;
    if (this.#clients.size >= mostClients) {
      counters.add('client-refused');
      socket.destroy();
      return;
    }
    this.#clients.add(socket);
    const reader = new LineReader(longestLineBytes);
    const unanswered = { count: 0 };
    const take = (chunk: Buffer) => {
      const lines = reader.feed(chunk);
      if (lines === undefined) {
        socket.off('data', take);
        counters.add('line-too-long');
        this.#answer(socket, 0, wrong(`a line is longer than ${longestLineBytes} bytes`));
        socket.destroySoon();
        return;
      }
      for (const line of lines) void this.#take(socket, line, unanswered);
    };
    socket.on('data', take);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#clients.delete(socket);
      if (this.#agent !== socket) return;
      this.#agent = undefined;
      this.#parts.left();
    });
  }

  async #take(socket: Socket, line: string, unanswered: { count: number }): Promise<void> {
    const message = parseRequest(line);
    const { id } = message;
    if ('problem' in message) {
      this.#parts.counters.add('request-broken');
      this.#answer(socket, id, wrong(message.problem));
      return;
    }
    if (!forAnybody.includes(message.request.kind) && !this.#claim(socket)) {
      const text = 'another agent is connected; only status is answered';
      this.#answer(socket, id, { kind: 'error', code: 'US_PULSE_BUSY', message: text });
      return;
    }
    if (unanswered.count >= mostUnanswered) {
      this.#answer(socket, id, wrong('too many requests wait for their answer'));
      return;
    }
    unanswered.count++;
    const reply = await this.#handle(message.request);
    unanswered.count--;
    this.#answer(socket, id, reply);
    if (message.request.kind === 'hello' && reply.kind === 'hello') this.#parts.greeted();
  }

  #claim(socket: Socket): boolean {
    this.#agent ??= socket;
    return this.#agent === socket;
  }

  async #handle(request: PulseRequest): Promise<PulseReply> {
    try {
      return await this.#parts.handle(request);
    } catch (thrown) {
      const code = thrown instanceof UnderstudyError ? thrown.code : 'US_PULSE_FAILED';
      return { kind: 'error', code, message: messageOf(thrown) };
    }
  }

  #answer(socket: Socket, id: number, reply: PulseReply): void {
    this.#write(socket, { id, reply });
  }

  #write(socket: Socket, message: PulseMessageToAgent): void {
    if (socket.destroyed || !socket.writable) return;
    socket.write(`${JSON.stringify(message)}\n`);
    if (socket.writableLength <= mostUnreadBytes) return;
    this.#parts.counters.add('slow-reader-dropped');
    socket.destroy();
  }
}

const forAnybody: readonly PulseRequest['kind'][] = ['status', 'reload-keys'];

function wrong(message: string): PulseReply {
  return { kind: 'error', code: 'US_PULSE_REQUEST', message };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const say = (answer: boolean) => {
      probe.destroy();
      resolve(answer);
    };
    probe.once('connect', () => say(true));
    probe.once('error', () => say(false));
    probe.setTimeout(1_000, () => say(true));
  });
}

function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
  }
}
