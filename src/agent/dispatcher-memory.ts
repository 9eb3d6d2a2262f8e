import type { Inherited } from '../dispatch/memory.js';
import { messageOf } from '../errors.js';
import type { Log } from './loop.js';
import { MemoryReceiver } from './memory-receiver.js';
import { MemorySender, type MemorySenderParts } from './memory-sender.js';
import type { MemoryWire } from './memory-wire.js';

/** What dispatchers hand on to the next one: this host's told, others' kept. Without a wire neither. */
export class DispatcherMemory {
  readonly #wire: MemoryWire | undefined;
  readonly #log: Log;
  readonly #receiver: MemoryReceiver;
  readonly #sender: MemorySender | undefined;

  constructor(wire: MemoryWire | undefined, parts: Omit<MemorySenderParts, 'dial'>) {
    this.#wire = wire;
    this.#log = parts.log;
    this.#receiver = new MemoryReceiver(parts);
    if (wire === undefined) return;
    this.#sender = new MemorySender({
      ...parts,
      dial: (address, port) => wire.dial(address, port),
    });
  }

  /**
   * Without it the next dispatcher here begins with the table alone, and the agent's work goes on.
   *
   * @returns whether others are heard
   */
  async start(): Promise<boolean> {
    if (this.#wire === undefined) return false;
    try {
      await this.#wire.listen((from, stream) => void this.#receiver.hear(from, stream));
      return true;
    } catch (thrown) {
      this.#log.error({ error: thrown }, messageOf(thrown));
      return false;
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.#sender?.stop(), this.#wire?.stop()]);
  }

  inherited(service: string, epoch: number): Inherited | undefined {
    return this.#receiver.inherited(service, epoch);
  }

  async flush(signal: AbortSignal): Promise<void> {
    await this.#sender?.flush(signal);
  }

  ages(): readonly { readonly host: string; readonly ageMs: number | null }[] {
    return this.#sender?.ages() ?? [];
  }
}
