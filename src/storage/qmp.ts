import type { Duplex } from 'node:stream';

/** An answer is a few hundred bytes; a daemon that sends this much without a line end is not one. */
const maxLineChars = 1024 * 1024;

interface Message {
  readonly QMP?: unknown;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly id?: number;
}

/** The daemon answered, and said no. */
export class QmpError extends Error {
  readonly command: string;

  constructor(command: string, description: string) {
    super(description);
    this.name = 'QmpError';
    this.command = command;
  }
}

/** QEMU's machine protocol (docs/interop/qmp-spec.txt): JSON lines; commands one after the other. */
export class QmpClient {
  readonly #stream: Duplex;
  #buffer = '';
  #nextId = 1;
  readonly #greeted: Promise<void>;
  #greet: () => void = () => {};
  #refuse: (thrown: Error) => void = () => {};
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(e: Error): void }>();
  readonly #commands = new Map<number, string>();
  #ended: Error | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    this.#greeted = new Promise((resolve, reject) => {
      this.#greet = resolve;
      this.#refuse = reject;
    });
    this.#greeted.catch(() => {});
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => this.#receive(text));
    stream.on('error', (thrown: Error) => this.fail(thrown));
    stream.on('close', () => this.fail(new Error('the connection to the daemon was closed')));
  }

  /** Waits for the greeting and leaves capability negotiation mode. */
  async start(timeoutMs: number): Promise<void> {
    const timer = setTimeout(
      () => this.fail(new Error(`no greeting in ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      await this.#greeted;
    } finally {
      clearTimeout(timer);
    }
    await this.execute('qmp_capabilities', {}, timeoutMs);
  }

  /** @throws {QmpError} when the daemon refuses; Error when it is gone or does not answer in time */
  execute(command: string, args: object, timeoutMs: number): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no answer to ${command} in ${timeoutMs} ms`));
      }, timeoutMs);
      this.#commands.set(id, command);
      this.#waiting.set(id, {
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value);
        },
        reject: (thrown) => {
          clearTimeout(timer);
          reject(thrown);
        },
      });
      this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  /** Ends the connection; the daemon goes on. */
  close(): void {
    this.fail(new Error('closed'));
    this.#stream.destroy();
  }

  /** Fails everything that waits, now and later. */
  fail(reason: Error): void {
    this.#ended ??= reason;
    this.#refuse(this.#ended);
    for (const [id, entry] of this.#waiting) {
      this.#waiting.delete(id);
      entry.reject(this.#ended);
    }
  }

  #receive(text: string): void {
    this.#buffer += text;
    if (this.#buffer.length > maxLineChars) this.fail(new Error('an answer without end'));
    for (let end = this.#buffer.indexOf('\n'); end >= 0; end = this.#buffer.indexOf('\n')) {
      const line = this.#buffer.slice(0, end);
      this.#buffer = this.#buffer.slice(end + 1);
      if (line.trim() !== '') this.#take(line);
    }
  }

  #take(line: string): void {
    let message: Message;
    try {
      message = JSON.parse(line) as Message;
    } catch {
      this.fail(new Error(`no JSON: ${line.slice(0, 80)}`));
      return;
    }
    if (message.QMP !== undefined) this.#greet();
    const id = message.id;
    if (id === undefined) return;
    const waiting = this.#waiting.get(id);
    const command = this.#commands.get(id) ?? '?';
    this.#waiting.delete(id);
    this.#commands.delete(id);
    if (message.error !== undefined) waiting?.reject(new QmpError(command, message.error.desc));
    else waiting?.resolve(message.return);
  }
}
