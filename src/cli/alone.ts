import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { UnderstudyError } from '../errors.js';

/**
 * Runs what reads a file, decides and writes it while no other command of this host does so with the same
 * file. The lock is an abstract socket name (unix(7)): it ends with the process, however that ends, and
 * leaves nothing behind.
 *
 * @throws {UnderstudyError} US_BUSY at once when another is at it
 */
export async function alone<T>(file: string, work: () => Promise<T>): Promise<T> {
  const lock = createServer();
  // A name may have 107 bytes.
  const name = createHash('sha256').update(file).digest('hex');
  await new Promise<void>((resolve, reject) => {
    lock.once('error', () => reject(busy(file)));
    lock.listen(`\0understudy-${name}`, resolve);
  });
  try {
    return await work();
  } finally {
    lock.close();
  }
}

function busy(file: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_BUSY',
    action: 'cannot change',
    object: file,
    cause: 'another command on this host is changing it',
    remedy: 'try again when it has ended',
  });
}
