import { UnderstudyError } from '../errors.js';
import type { Transaction } from './types.js';
import { inWords } from './wording.js';

/** Keys and values of one transaction; etcd's own default limit is 1.5 MiB (--max-request-bytes). */
export const largestTransactionBytes = 1024 * 1024;
/** etcd's default --max-txn-ops. */
export const mostOperations = 128;

/**
 * Refuses what etcd would refuse or what would make it slow, before anything is sent.
 *
 * @throws US_STORE_TOO_LARGE over 1 MiB or 128 operations; US_STORE_BAD_TRANSACTION for two writes
 *   to one key, whose order would not be defined.
 */
export function checkTransaction({ compare, write }: Transaction): void {
  const object = write[0]?.key ?? compare[0]?.key ?? '(nothing)';
  const texts = [...compare, ...write].flatMap((part) =>
    'value' in part ? [part.key, part.value] : [part.key],
  );
  const sizeBytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  const operations = Math.max(compare.length, write.length);
  if (sizeBytes > largestTransactionBytes || operations > mostOperations) {
    throw new UnderstudyError({
      code: 'US_STORE_TOO_LARGE',
      action: 'cannot write',
      object,
      cause: `the transaction has ${sizeBytes} bytes and ${operations} operations; the limits are ${largestTransactionBytes} and ${mostOperations}`,
      remedy: 'split the write; if it is a cluster file, split the cluster',
    });
  }
  const keys = write.map(({ key }) => key);
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined) {
    throw new UnderstudyError({
      code: 'US_STORE_BAD_TRANSACTION',
      action: 'cannot write',
      object: twice,
      cause: 'the transaction writes this key twice',
      remedy: 'this is a defect of understudy: please report it',
    });
  }
}

/** No member answered in time. What was asked may or may not have been done. */
export function unreachable(action: string, object: string, cause: string, last?: unknown) {
  return new UnderstudyError(
    {
      code: 'US_STORE_UNREACHABLE',
      action,
      object,
      cause,
      remedy:
        'check that a majority of the etcd members run and can be reached: etcdctl endpoint health',
    },
    { cause: last },
  );
}

/** A member answered, and the answer is no; another member would say the same. */
export function refused(action: string, object: string, thrown: unknown): UnderstudyError {
  return new UnderstudyError(
    {
      code: 'US_STORE_REFUSED',
      action,
      object,
      cause: inWords(thrown),
      remedy: 'see the log of etcd; for "database space exceeded": compact and defragment it',
    },
    { cause: thrown },
  );
}

/** The reason of an aborted signal, as an error. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('called off');
}
