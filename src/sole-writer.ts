import type { Operation, Store } from './store/types.js';

/** Somebody else wrote in between this often: then the caller is told, and tries later. */
const attempts = 3;

/**
 * Writes keys that only this process writes, each over the one before. A try that timed out may still be
 * carried out much later (an etcd member that was frozen thaws); were it unconditional it would undo what
 * was written since. So each write compares the revision that the one before left.
 */
export class SoleWriter {
  readonly #store: Pick<Store, 'transact'>;
  /** Revision of each key as last seen; absent keys are not in it. */
  readonly #seen = new Map<string, number>();

  constructor(store: Pick<Store, 'transact'>) {
    this.#store = store;
  }

  /** Resolves when the key holds what was written. @throws US_STORE_UNREACHABLE, or when others write too */
  async write(operation: Operation, signal?: AbortSignal): Promise<void> {
    const { key } = operation;
    for (let attempt = 0; attempt < attempts; attempt++) {
      const seen = this.#seen.get(key);
      const result = await this.#store.transact(
        {
          compare: [
            seen === undefined
              ? { kind: 'absent', key }
              : { kind: 'revision', key, modRevision: seen },
          ],
          write: [operation],
        },
        signal === undefined ? {} : { signal },
      );
      const there = result.current.find((entry) => entry.key === key);
      const revision = result.done ? result.revision : there?.modRevision;
      const value = result.done ? valueWritten(operation) : there?.value;
      if (value === undefined || revision === undefined) this.#seen.delete(key);
      else this.#seen.set(key, revision);
      // Not done and yet as wanted: an earlier try of this very write was carried out.
      if (value === valueWritten(operation)) return;
    }
    throw new Error(`${key} is written by somebody else too`);
  }
}

function valueWritten(operation: Operation): string | undefined {
  return operation.kind === 'put' ? operation.value : undefined;
}
