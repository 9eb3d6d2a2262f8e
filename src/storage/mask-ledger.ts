import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../errors.js';
import type { MaskOrder } from './types.js';

/**
 * The last order each target obeyed, on disk: a restarted daemon refuses what the one before it
 * would have refused. An order is written here before anybody is let in by it.
 */
const entrySchema = z.object({
  personality: z.string(),
  epoch: z.number().int(),
  generation: z.number().int(),
  initiator: z.string().nullable(),
});
const schema = z.object({ version: z.literal(1), targets: z.record(z.string(), entrySchema) });

export type LedgerEntry = z.infer<typeof entrySchema>;

/**
 * Why an order is refused; undefined when it is in order. Pure.
 *
 * Epochs count the assignments of one personality. Which personality a target belongs to is said
 * by the configuration, whose generation counts its own changes.
 */
export function staleReason(last: LedgerEntry | undefined, order: MaskOrder): string | undefined {
  if (last === undefined) return undefined;
  const { personality = '', generation = 0 } = order;
  if (personality !== last.personality) {
    if (generation > last.generation) return undefined;
    return `it belongs to ${last.personality || 'nobody'} since configuration ${last.generation}`;
  }
  if (order.epoch < last.epoch) return `epoch ${last.epoch} was applied before`;
  const other = order.initiator !== undefined && last.initiator !== null;
  if (order.epoch === last.epoch && other && order.initiator !== last.initiator) {
    return `epoch ${last.epoch} was given to ${last.initiator}`;
  }
  return undefined;
}

/** What is remembered once an order is obeyed. A name, once given for an epoch, stays with it. */
export function nextEntry(last: LedgerEntry | undefined, order: MaskOrder): LedgerEntry {
  const { personality = '', generation = 0, epoch } = order;
  const same = last !== undefined && last.personality === personality && last.epoch === epoch;
  return {
    personality,
    epoch,
    generation: Math.max(generation, last?.generation ?? 0),
    initiator: order.initiator ?? (same ? last.initiator : null),
  };
}

export class MaskLedger {
  readonly #file: string;
  #targets = new Map<string, LedgerEntry>();
  /** The file is read once, whoever asks first: a second reading would undo what was admitted since. */
  #loading: Promise<void> | undefined;
  /** Writes one after the other. */
  #writing: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.#file = file;
  }

  async last(target: string): Promise<LedgerEntry | undefined> {
    await this.#load();
    return this.#targets.get(target);
  }

  async targets(): Promise<ReadonlyMap<string, LedgerEntry>> {
    await this.#load();
    return this.#targets;
  }

  /**
   * Refuses an order that is older than the last, else remembers it.
   *
   * @returns `written`, which resolves when it is on disk: nobody may be let in before. Whoever is older may
   * be thrown out already
   * @throws {UnderstudyError} US_STORAGE_STALE_EPOCH, US_STORAGE_LEDGER
   */
  async admit(order: MaskOrder): Promise<{ readonly written: Promise<void> }> {
    await this.#load();
    const last = this.#targets.get(order.target);
    const stale = staleReason(last, order);
    if (stale !== undefined) {
      throw new UnderstudyError({
        code: 'US_STORAGE_STALE_EPOCH',
        action: 'refused to change the mask of',
        object: `${order.target} to ${order.initiator ?? 'nobody'}, epoch ${order.epoch}`,
        cause: stale,
        remedy:
          'nothing, if the order was late; if the store was made anew, see "Start again with an empty store" in docs/operations.md',
      });
    }
    const next = nextEntry(last, order);
    // Also what is there already may be on its way only, by an order before this one.
    const same = last !== undefined && JSON.stringify(last) === JSON.stringify(next);
    this.#targets.set(order.target, next);
    const written = same ? this.#writing.catch(() => this.#write()) : this.#write();
    // Whoever fails before waiting for it must not leave a rejection that nobody handles.
    written.catch(() => {});
    return { written };
  }

  /** A target that is no longer in the configuration, after its mask was closed. */
  async forget(target: string): Promise<void> {
    await this.#load();
    if (this.#targets.delete(target)) await this.#write();
  }

  #load(): Promise<void> {
    this.#loading ??= this.#read().catch((thrown: unknown) => {
      this.#loading = undefined;
      throw thrown;
    });
    return this.#loading;
  }

  async #read(): Promise<void> {
    try {
      const { targets } = schema.parse(JSON.parse(await readFile(this.#file, 'utf8')));
      this.#targets = new Map(Object.entries(targets));
    } catch (thrown) {
      // None yet is fine; one that cannot be read is not: it may hold newer epochs.
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#error(thrown);
    }
  }

  #write(): Promise<void> {
    const write = this.#writing.catch(() => {}).then(() => this.#writeNow());
    this.#writing = write;
    return write;
  }

  /** New file, fsync, rename, fsync of the folder: a power cut leaves the old one or the new one. */
  async #writeNow(): Promise<void> {
    const text = JSON.stringify({ version: 1, targets: Object.fromEntries(this.#targets) });
    try {
      await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 });
      const file = await open(`${this.#file}.new`, 'w', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${this.#file}.new`, this.#file);
      const folder = await open(dirname(this.#file), 'r');
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    } catch (thrown) {
      this.#loading = undefined;
      throw this.#error(thrown);
    }
  }

  #error(thrown: unknown): UnderstudyError {
    return new UnderstudyError(
      {
        code: 'US_STORAGE_LEDGER',
        action: 'cannot keep the epochs of the targets in',
        object: this.#file,
        cause: messageOf(thrown),
        remedy:
          'make room and rights for it; a damaged file may only be removed while no host uses a volume',
      },
      { cause: thrown },
    );
  }
}
