export interface BucketOptions {
  /** How many may be taken at once. */
  readonly burst: number;
  /** One comes back this often. */
  readonly everyMs: number;
  nowMs(): number;
}

/** Beyond so many keys the one that was used longest ago is forgotten: it would be full anyway. */
const mostKeys = 1_024;

interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

/** How often each key (a peer's address, a token) may do something: token buckets, bounded in number. */
export class Buckets {
  readonly #options: BucketOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: BucketOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** How many are left now. */
  left(key: string): number {
    const { burst, everyMs, nowMs } = this.#options;
    const known = this.#buckets.get(key);
    if (known === undefined) return burst;
    return Math.min(burst, known.left + (nowMs() - known.atMs) / everyMs);
  }

  /** Takes one; false when none is left. */
  take(key: string): boolean {
    const left = this.left(key);
    this.#buckets.delete(key); // to the end: the order is that of their last use
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined && this.#buckets.size >= mostKeys) this.#buckets.delete(oldest);
    const enough = left >= 1;
    this.#buckets.set(key, { left: enough ? left - 1 : left, atMs: this.#options.nowMs() });
    return enough;
  }
}

/** Whom an address counts as: of IPv6 a whole /64, which is what one customer has. */
export function peerOf(address: string | undefined): string {
  if (address === undefined) return '?';
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '');
  if (!plain.includes(':')) return plain;
  const [head = '', tail = ''] = plain.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === '' ? [] : tail.split(':');
  const zeros = plain.includes('::') ? Math.max(0, 8 - front.length - back.length) : 0;
  return [...front, ...Array<string>(zeros).fill('0'), ...back].slice(0, 4).join(':');
}
