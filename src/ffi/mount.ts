import koffi from 'koffi';
import { libc, SystemCallError } from './libc.js';

/**
 * mount(2) and umount2(2) off the main thread: both may wait for a disk. Each call holds one of
 * libuv's four threads until the kernel answers, so whoever gives up must make it answer, by killing
 * the process behind the device.
 */
export const mountFlags = { readOnly: 1, noSuid: 2, noDev: 4, bind: 4096 } as const;
export const unmountFlags = { detach: 2, noFollow: 8 } as const;

interface Asynchronous<A extends readonly unknown[]> {
  async(...args: [...A, (thrown: unknown, result: number) => void]): void;
}

const libcMount = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
) as unknown as Asynchronous<[string, string, string, number, string]>;
const libcUmount2 = libc.func(
  'int umount2(const char *target, int flags)',
) as unknown as Asynchronous<[string, number]>;

/**
 * Equals: `mount -t TYPE -o OPTIONS SOURCE TARGET`
 *
 * @throws {SystemCallError} with the kernel's errno
 */
export function mount(spec: {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags: number;
  readonly options: string;
}): Promise<void> {
  return asynchronously(`mount ${spec.source}`, (done) =>
    libcMount.async(spec.source, spec.target, spec.type, spec.flags, spec.options, done),
  );
}

/**
 * Equals: `umount TARGET`, with `unmountFlags.detach`: `umount --lazy TARGET`
 *
 * @throws {SystemCallError} EBUSY while in use, EINVAL when nothing is mounted there
 */
export function unmount(target: string, flags = 0): Promise<void> {
  return asynchronously(`umount ${target}`, (done) =>
    libcUmount2.async(target, flags | unmountFlags.noFollow, done),
  );
}

function asynchronously(
  call: string,
  start: (done: (thrown: unknown, result: number) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    start((thrown, result) => {
      if (thrown !== null && thrown !== undefined) reject(thrown);
      // koffi keeps the errno of an asynchronous call for its callback.
      else if (result < 0) reject(new SystemCallError(call, koffi.errno()));
      else resolve();
    });
  });
}
