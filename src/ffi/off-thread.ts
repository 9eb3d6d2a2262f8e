import koffi from 'koffi';
import { SystemCallError } from './libc.js';

/** A C function that koffi can call on a thread of libuv's pool. */
export interface OffThread<A extends readonly unknown[]> {
  async(...args: [...A, (thrown: unknown, result: number | bigint) => void]): void;
}

export interface Outcome {
  readonly result: number;
  /** As the call left it, whatever its result. */
  readonly errno: number;
}

/** koffi hands on a buffer's address and does not keep the buffer: what was collected meanwhile is written to. */
const underWay = new Set<readonly unknown[]>();

/** Calls it on another thread, and holds its arguments until it has returned. */
export function offThread<A extends readonly unknown[]>(
  called: OffThread<A>,
  ...args: A
): Promise<Outcome> {
  underWay.add(args);
  return new Promise((resolve, reject) => {
    called.async(...args, (thrown, result) => {
      underWay.delete(args);
      if (thrown !== null && thrown !== undefined) reject(thrown);
      // koffi keeps the errno of an asynchronous call for its callback.
      else resolve({ result: Number(result), errno: koffi.errno() });
    });
  });
}

/** The same for a call that signals failure by a negative number. @throws {SystemCallError} with its errno */
export async function checkedOffThread<A extends readonly unknown[]>(
  name: string,
  called: OffThread<A>,
  ...args: A
): Promise<void> {
  const { result, errno } = await offThread(called, ...args);
  if (result < 0) throw new SystemCallError(name, errno);
}
