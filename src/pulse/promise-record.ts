import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { later } from '../control/lease/instants.js';
import { messageOf, UnderstudyError } from '../errors.js';

const schema = z.strictObject({
  bootId: z.string(),
  longestNs: z.string().regex(/^\d{1,18}$/),
});

/** Where the record is kept: a file that a reboot forgets. */
export interface RecordFile {
  readonly path: string;
  /** Throws when there is none. */
  read(): string;
  /** The old content or the new one is there, never half of it. */
  write(content: string): void;
}

export function recordFile(path: string): RecordFile {
  return {
    path,
    read: () => readFileSync(path, 'utf8'),
    write: (content) => {
      writeFileSync(`${path}.new`, content, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}

/**
 * The longest promise that this controller may have running, in a file on /run. A process that
 * starts must wait for promises of the one before it; were leases made shorter in between, the
 * length it is told now would be too short a wait. A boot counts as longer than any lease.
 */
export class PromiseRecord {
  readonly #file: RecordFile;
  readonly #bootId: string;
  readonly #startedAtNs: bigint;
  /** What the process before this one left. */
  readonly #inheritedNs: bigint;
  #recordedNs: bigint;
  #currentNs = 0n;
  /** Lengths given before the current one, and when the last such promise ends. */
  #earlier: readonly { readonly lengthNs: bigint; readonly untilNs: bigint }[];

  constructor(file: RecordFile, bootId: string, startedAtNs: bigint) {
    this.#file = file;
    this.#bootId = bootId;
    this.#startedAtNs = startedAtNs;
    const lengthNs = readRecord(file, bootId);
    this.#inheritedNs = lengthNs;
    this.#recordedNs = lengthNs;
    this.#earlier = [{ lengthNs, untilNs: startedAtNs + lengthNs }];
  }

  /**
   * Notes that promises of up to the longest length are given from now on; the record gets shorter
   * only when no longer one can be running.
   *
   * @returns when the promises of the process before have ended for sure
   * @throws {UnderstudyError} US_PULSE_RECORD
   */
  renew(promiseNs: bigint, nowNs: bigint, longestNs = promiseNs): bigint {
    const earlier = this.#earlier.filter(({ untilNs }) => nowNs < untilNs);
    if (longestNs !== this.#currentNs) {
      earlier.push({ lengthNs: this.#currentNs, untilNs: nowNs + this.#currentNs });
    }
    this.#write(earlier.reduce((longest, { lengthNs }) => later(longest, lengthNs), longestNs));
    this.#earlier = earlier;
    this.#currentNs = longestNs;
    return this.#startedAtNs + later(this.#inheritedNs, promiseNs);
  }

  #write(longestNs: bigint): void {
    if (longestNs === this.#recordedNs) return;
    try {
      this.#file.write(JSON.stringify({ bootId: this.#bootId, longestNs: String(longestNs) }));
    } catch (thrown) {
      throw new UnderstudyError(
        {
          code: 'US_PULSE_RECORD',
          action: 'cannot record the length of promises in',
          object: this.#file.path,
          cause: messageOf(thrown),
          remedy: 'make its folder writable',
        },
        { cause: thrown },
      );
    }
    this.#recordedNs = longestNs;
  }
}

/** 0n where there is nothing of this boot to read. */
function readRecord(file: RecordFile, bootId: string): bigint {
  try {
    const record = schema.parse(JSON.parse(file.read()));
    return record.bootId === bootId ? BigInt(record.longestNs) : 0n;
  } catch {
    return 0n;
  }
}
