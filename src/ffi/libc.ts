import koffi from 'koffi';

/** libc, loaded once. Each ffi file declares the functions it needs of it. */
export const libc = koffi.load('libc.so.6');

const errnoNames = new Map<number, string>(
  Object.entries(koffi.os.errno).map(([name, number]) => [number, name]),
);

/** A system call that the kernel refused. Adapters turn it into an UnderstudyError. */
export class SystemCallError extends Error {
  readonly call: string;
  readonly errno: number;
  /** 'ENOENT'. */
  readonly errnoName: string;

  constructor(call: string, errno: number) {
    const errnoName = errnoNames.get(errno) ?? `errno ${errno}`;
    super(`${call}: ${errnoName}`);
    this.name = 'SystemCallError';
    this.call = call;
    this.errno = errno;
    this.errnoName = errnoName;
  }
}

/** Returns the result of a call that signals failure by a negative number, or throws with errno. */
export function check(call: string, result: number | bigint): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return Number(result);
}

export const errno: Readonly<Record<string, number>> = koffi.os.errno;
