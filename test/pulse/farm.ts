import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PulseClient } from '../../src/pulse/client.js';
import type { PulseEvent, PulsePeer, PulseReply, PulseRequest } from '../../src/pulse/protocol.js';
import { readDeadlineNs } from './file-lease-map.js';

const program = fileURLToPath(new URL('./pulse-process.js', import.meta.url));
type EventKind = PulseEvent['kind'];
type EventOf<K extends EventKind> = Extract<PulseEvent, { kind: K }>;

/** Real pulse processes on loopback addresses of their own, one cluster a test process. */
export class Farm {
  readonly folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-pulse-`));
  readonly keyFile = join(this.folder, 'cluster.key');
  /** 127.x.y.z is all loopback; a net of this process's own keeps parallel tests apart. */
  readonly #net = `127.${1 + ((process.pid >> 7) % 250)}.${process.pid & 127}`;
  readonly #daemons: Daemon[] = [];

  constructor() {
    writeFileSync(this.keyFile, 'a test cluster key, 32 bytes or more', { mode: 0o600 });
  }

  peer(name: string, last: number): PulsePeer {
    return { name, address: `${this.#net}.${last}`, port: 7411 };
  }

  async start(peer: PulsePeer, options: { realtime?: boolean } = {}): Promise<Daemon> {
    const daemon = new Daemon(this, peer, options.realtime ?? false);
    this.#daemons.push(daemon);
    await daemon.start();
    return daemon;
  }

  async close(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.kill()));
    rmSync(this.folder, { recursive: true });
  }
}

/** One pulse, and the agent's end of its socket. */
export class Daemon {
  readonly peer: PulsePeer;
  readonly socket: string;
  readonly mapPath: string;
  readonly #farm: Farm;
  readonly #realtime: boolean;
  #process: ChildProcess | undefined;
  #client: PulseClient | undefined;
  #events: PulseEvent[] = [];
  #heard: (() => void)[] = [];

  constructor(farm: Farm, peer: PulsePeer, realtime: boolean) {
    this.#farm = farm;
    this.peer = peer;
    this.#realtime = realtime;
    this.socket = join(farm.folder, `${peer.name}.sock`);
    this.mapPath = join(farm.folder, `${peer.name}.map`);
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }
  get client(): PulseClient {
    if (this.#client === undefined) throw new Error('not started');
    return this.#client;
  }
  get deadlineNs(): bigint {
    return readDeadlineNs(this.mapPath);
  }

  async start(): Promise<void> {
    const config = join(this.#farm.folder, `${this.peer.name}.json`);
    const { address: bind, port } = this.peer;
    const { keyFile } = this.#farm;
    writeFileSync(
      config,
      JSON.stringify({ bind, port, keyFile, socket: this.socket, realtime: this.#realtime }),
    );
    this.#process = fork(program, [config], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
    const words: Buffer[] = [];
    this.#process.stderr?.on('data', (chunk: Buffer) => words.push(chunk));
    this.#process.once('exit', (code) => {
      if (code) console.error(`${this.peer.name} ended with ${code}: ${Buffer.concat(words)}`);
    });
    if (this.#client !== undefined) return;
    const client = new PulseClient({ path: this.socket, lastPauseMs: 50 });
    this.#client = client;
    client.onEvent((event) => {
      this.#events.push(event);
      for (const listener of this.#heard) listener();
    });
    const hello = new Promise<void>((resolve) => client.onConnect(() => resolve()));
    client.start(new AbortController().signal);
    await hello;
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#process?.kill(name);
  }

  async kill(): Promise<void> {
    this.#client?.stop();
    await this.crash();
  }

  /** SIGKILL; the client stays and connects again when pulse is back. */
  async crash(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  /** Starts it again and waits for the client's new hello. */
  async restart(): Promise<Extract<PulseReply, { kind: 'hello' }>> {
    await this.crash();
    const { pid: before } = { pid: this.client.hello?.pid };
    await this.start();
    const { pid } = this;
    return await new Promise((resolve) => {
      this.client.onConnect((hello) => {
        if (hello.pid === pid && pid !== before) resolve(hello);
      });
    });
  }

  async order(request: PulseRequest): Promise<void> {
    const reply = await this.client.request(request);
    if (reply.kind !== 'ok') throw new Error(`${request.kind}: ${JSON.stringify(reply)}`);
  }

  async status(): Promise<Extract<PulseReply, { kind: 'status' }>> {
    const reply = await this.client.request({ kind: 'status' });
    if (reply.kind !== 'status') throw new Error(JSON.stringify(reply));
    return reply;
  }

  /** Forgets events heard so far. */
  forget(): void {
    this.#events = [];
  }

  heard<K extends EventKind>(kind: K): readonly EventOf<K>[] {
    return this.#events.filter((event): event is EventOf<K> => event.kind === kind);
  }

  /** The first event of a kind since the last `forget`. */
  next<K extends EventKind>(kind: K): Promise<EventOf<K>> {
    return this.nth(kind, 1);
  }

  /** The `count`-th event of a kind since the last `forget`. */
  async nth<K extends EventKind>(kind: K, count: number): Promise<EventOf<K>> {
    for (;;) {
      const found = this.heard(kind)[count - 1];
      if (found !== undefined) return found;
      await this.#nextEvent(15_000, kind);
    }
  }

  async #nextEvent(withinMs: number, kind: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#heard = this.#heard.filter((listener) => listener !== done);
        resolve();
      };
      const timer = setTimeout(
        () => reject(new Error(`${this.peer.name}: no ${kind} within ${withinMs} ms`)),
        withinMs,
      );
      this.#heard.push(done);
    });
  }
}
