import { createHash, timingSafeEqual } from 'node:crypto';
import { statSync } from 'node:fs';
import { UnderstudyError } from '../errors.js';
import { Buckets } from './buckets.js';
import type { Role } from './roles.js';
import { hashSecret, readTokenFile, type TokenEntry, takeApart } from './token-file.js';

/** Who asks, as the token says. */
export interface Caller {
  readonly name: string;
  readonly role: Role;
}

/** Tokens that were right before: the costly hash is computed once for each. */
const mostKnown = 64;
/** A hash takes 16 MiB and some 40 ms of a processor. */
const mostHashing = 2;

interface Clocks {
  nowMs(): number;
  unixMs(): number;
}

/** Tells callers by their tokens. The file is read again when it has changed: a removal counts at once. */
export class Tokens {
  readonly #file: string;
  readonly #clocks: Clocks;
  readonly #wrong: Buckets;
  /** SHA-256 of a token that was right → id of its entry. */
  readonly #known = new Map<string, string>();
  #entries: readonly TokenEntry[] = [];
  #stamp = '';
  #hashing = 0;

  constructor(file: string, clocks: Clocks) {
    this.#file = file;
    this.#clocks = clocks;
    this.#wrong = new Buckets({ burst: 10, everyMs: 6_000, nowMs: clocks.nowMs });
  }

  /**
   * @param header of the request, `Bearer us1.…`
   * @param peer who sent it: after ten wrong ones it may try one every six seconds
   * @throws {UnderstudyError} US_API_TOKEN, US_API_BUSY, US_API_TOKENS
   */
  async callerOf(header: string | undefined, peer: string): Promise<Caller> {
    this.#refresh();
    const text = header?.match(/^Bearer (\S+)$/i)?.[1];
    if (text === undefined) throw wrong('there is none', 'send Authorization: Bearer TOKEN');
    const entry = this.#remembered(text) ?? (await this.#prove(text, peer));
    if (entry.expiresUnixMs <= this.#clocks.unixMs()) {
      throw wrong(`that of ${entry.name} has expired`, 'understudy token add makes another');
    }
    return { name: entry.name, role: entry.role };
  }

  #remembered(text: string): TokenEntry | undefined {
    const id = this.#known.get(digest(text));
    return id === undefined ? undefined : this.#entries.find((one) => one.id === id);
  }

  /** An id that is not there takes as long as a wrong secret. */
  async #prove(text: string, peer: string): Promise<TokenEntry> {
    if (this.#wrong.left(peer) < 1) throw busy('too many wrong tokens came from there');
    const parts = takeApart(text);
    if (parts === undefined) {
      this.#wrong.take(peer);
      throw wrong('it has not the form of one', 'send it whole, as understudy token add showed it');
    }
    if (this.#hashing >= mostHashing) throw busy('other tokens are being looked at');
    const entry = this.#entries.find(({ id }) => id === parts.id);
    this.#hashing += 1;
    try {
      const salt = Buffer.from(entry?.salt ?? '00'.repeat(16), 'hex');
      const hash = await hashSecret(parts.secret, salt);
      const expected = Buffer.from(entry?.hash ?? '00'.repeat(32), 'hex');
      if (timingSafeEqual(hash, expected) && entry !== undefined)
        return this.#remember(text, entry);
    } finally {
      this.#hashing -= 1;
    }
    this.#wrong.take(peer);
    throw wrong('nobody has this one', 'understudy token list shows who has one');
  }

  #remember(text: string, entry: TokenEntry): TokenEntry {
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size >= mostKnown) this.#known.delete(oldest);
    this.#known.set(digest(text), entry.id);
    return entry;
  }

  #refresh(): void {
    const found = statSync(this.#file, { throwIfNoEntry: false });
    const { ino = 0, mtimeMs = 0, size = 0, mode = 0 } = found ?? {};
    const stamp = found === undefined ? 'none' : `${ino} ${mtimeMs} ${size} ${mode}`;
    if (stamp === this.#stamp) return;
    // Whatever is wrong with the file now, who was known by the former one is known no more.
    this.#known.clear();
    this.#entries = [];
    this.#stamp = '';
    this.#entries = readTokenFile(this.#file);
    this.#stamp = stamp;
  }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64');

function wrong(cause: string, remedy: string): UnderstudyError {
  const [action, object] = ['cannot let in', 'this token'];
  return new UnderstudyError({ code: 'US_API_TOKEN', action, object, cause, remedy });
}

export function busy(cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_API_BUSY',
    action: 'cannot answer',
    object: 'now',
    cause,
    remedy: 'wait some seconds, then try again',
  });
}
