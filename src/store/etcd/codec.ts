import type { Change, Compare, Entry, Operation, Transaction } from '../types.js';
import type { KeyValue, TxnCompare, TxnOperation, TxnRequest, WatchResponse } from './protocol.js';

/** Between the store's words and etcd's. Keys gain or lose the cluster's prefix here. */
export class Codec {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  key(key: string): Buffer {
    return Buffer.from(this.#prefix + key);
  }

  entry(found: KeyValue): Entry {
    return {
      key: this.#name(found.key),
      value: found.value.toString(),
      createRevision: Number(found.create_revision),
      modRevision: Number(found.mod_revision),
    };
  }

  change({ type, kv }: WatchResponse['events'][number]): Change {
    return type === 'Delete'
      ? { kind: 'delete', key: this.#name(kv.key), revision: Number(kv.mod_revision) }
      : { kind: 'put', entry: this.entry(kv) };
  }

  /** If the comparisons fail, the compared keys are read in the same step. */
  transaction({ compare, write }: Transaction, lease?: bigint): TxnRequest {
    const compared = [...new Set(compare.map(({ key }) => key))];
    return {
      compare: compare.map((one) => this.#compare(one)),
      success: write.map((one) => this.#operation(one, lease)),
      failure: compared.map((key) => ({ request_range: { key: this.key(key) } })),
    };
  }

  #compare(compare: Compare): TxnCompare {
    const key = this.key(compare.key);
    switch (compare.kind) {
      case 'absent':
        return { key, result: 'Equal', target: 'Create', create_revision: '0' };
      case 'exists':
        return { key, result: 'Greater', target: 'Create', create_revision: '0' };
      case 'revision':
        return { key, result: 'Equal', target: 'Mod', mod_revision: String(compare.modRevision) };
      case 'value':
        return { key, result: 'Equal', target: 'Value', value: Buffer.from(compare.value) };
    }
  }

  #operation(operation: Operation, lease: bigint | undefined): TxnOperation {
    const key = this.key(operation.key);
    if (operation.kind === 'delete') return { request_delete_range: { key } };
    const value = Buffer.from(operation.value);
    return {
      request_put: { key, value, ...(lease === undefined ? {} : { lease: String(lease) }) },
    };
  }

  #name(key: Buffer): string {
    return key.toString().slice(this.#prefix.length);
  }
}
