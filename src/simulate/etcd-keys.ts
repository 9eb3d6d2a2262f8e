import type {
  KeyValue,
  TxnCompare,
  TxnOperation,
  TxnRequest,
  TxnResponse,
} from '../store/etcd/protocol.js';

interface Held {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly lease: string;
}

export interface KeyEvent {
  readonly revision: number;
  readonly type: 'Put' | 'Delete';
  readonly key: string;
  readonly kv: KeyValue;
}

/** One committed transaction that changed something. */
export interface KeyCommit {
  readonly revision: number;
  readonly events: readonly KeyEvent[];
}

export const clusterId = '7411';
/** etcd compacts itself now and then (--auto-compaction-retention). */
const mostHistory = 20_000;

/** What etcd's log builds up: keys, revisions, history. Every step is one entry of the log. */
export class EtcdKeys {
  readonly #held = new Map<string, Held>();
  #history: KeyEvent[] = [];
  /** An empty etcd is at revision 1. */
  #revision = 1;
  #compacted = 0;

  get revision(): number {
    return this.#revision;
  }

  /** What happened at or before this revision is forgotten. */
  get compacted(): number {
    return this.#compacted;
  }

  compact(revision: number): void {
    this.#compacted = Math.max(this.#compacted, revision);
    this.#history = this.#history.filter((event) => event.revision > this.#compacted);
  }

  /** Events after `revision` whose keys lie in the range, oldest first. */
  since(revision: number, key: string, rangeEnd: string): readonly KeyEvent[] {
    const found: KeyEvent[] = [];
    for (let index = this.#history.length - 1; index >= 0; index--) {
      const event = this.#history[index];
      if (event === undefined || event.revision <= revision) break;
      if (inRange(event.key, key, rangeEnd)) found.push(event);
    }
    return found.reverse();
  }

  range(key: string, rangeEnd: string | undefined): readonly KeyValue[] {
    if (rangeEnd === undefined) {
      const held = this.#held.get(key);
      return held === undefined ? [] : [keyValue(held)];
    }
    return [...this.#held.values()]
      .filter((held) => inRange(held.key, key, rangeEnd))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map(keyValue);
  }

  keysOfLease(lease: string): readonly string[] {
    return [...this.#held.values()].filter((held) => held.lease === lease).map(({ key }) => key);
  }

  remove(keys: readonly string[]): KeyCommit | undefined {
    return this.#write(keys.map((key) => ({ key, put: undefined })));
  }

  transact(request: TxnRequest): { response: TxnResponse; commit: KeyCommit | undefined } {
    const succeeded = request.compare.every((compare) => this.#holds(compare));
    const operations = succeeded ? request.success : request.failure;
    const responses = operations.map((operation) => this.#read(operation));
    const commit = this.#write(operations.flatMap(writeOf));
    const response = { header: this.header(), succeeded, responses };
    return { response, commit };
  }

  header(): { readonly cluster_id: string; readonly revision: string } {
    return { cluster_id: clusterId, revision: String(this.#revision) };
  }

  #holds({ key, target, result, ...wanted }: TxnCompare): boolean {
    const held = this.#held.get(key.toString());
    switch (target) {
      case 'Create': {
        const created = held?.createRevision ?? 0;
        const than = Number(wanted.create_revision);
        return result === 'Greater' ? created > than : created === than;
      }
      case 'Mod':
        return (held?.modRevision ?? 0) === Number(wanted.mod_revision);
      case 'Value':
        return held !== undefined && wanted.value !== undefined && held.value.equals(wanted.value);
    }
  }

  #read(operation: TxnOperation): TxnResponse['responses'][number] {
    if (!('request_range' in operation)) return {};
    const kvs = this.range(operation.request_range.key.toString(), undefined);
    return { response_range: { header: this.header(), kvs, more: false } };
  }

  #write(writes: readonly KeyWrite[]): KeyCommit | undefined {
    const revision = this.#revision + 1;
    const events = writes.flatMap(({ key, put }): KeyEvent[] => {
      const before = this.#held.get(key);
      if (put === undefined) {
        if (!this.#held.delete(key)) return [];
        const gone = { key, value: Buffer.alloc(0), createRevision: 0, modRevision: revision };
        return [{ revision, type: 'Delete', key, kv: keyValue({ ...gone, lease: '0' }) }];
      }
      const held: Held = {
        key,
        ...put,
        createRevision: before?.createRevision ?? revision,
        modRevision: revision,
      };
      this.#held.set(key, held);
      return [{ revision, type: 'Put', key, kv: keyValue(held) }];
    });
    if (events.length === 0) return undefined;
    this.#revision = revision;
    this.#history.push(...events);
    if (this.#history.length > mostHistory) this.compact(revision - mostHistory / 2);
    return { revision, events };
  }
}

interface KeyWrite {
  readonly key: string;
  /** undefined: the key is deleted. */
  readonly put: { readonly value: Buffer; readonly lease: string } | undefined;
}

function writeOf(operation: TxnOperation): readonly KeyWrite[] {
  if ('request_put' in operation) {
    const { key, value, lease = '0' } = operation.request_put;
    return [{ key: key.toString(), put: { value, lease } }];
  }
  if ('request_delete_range' in operation) {
    return [{ key: operation.request_delete_range.key.toString(), put: undefined }];
  }
  return [];
}

export function inRange(key: string, from: string, end: string): boolean {
  return key >= from && key < end;
}

function keyValue({ key, value, createRevision, modRevision, lease }: Held): KeyValue {
  return {
    key: Buffer.from(key),
    value,
    create_revision: String(createRevision),
    mod_revision: String(modRevision),
    lease,
  };
}
