import { libc } from './libc.js';
import { checkedOffThread, type OffThread } from './off-thread.js';

/**
 * mount(2) and umount2(2) off the main thread: both may wait for a disk. Each call holds one of
 * libuv's four threads until the kernel answers, so whoever gives up must make it answer, by killing
 * the process behind the device.
 */
export const mountFlags = { readOnly: 1, noSuid: 2, noDev: 4, bind: 4096 } as const;
export const unmountFlags = { detach: 2, noFollow: 8 } as const;

const libcMount = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
) as unknown as OffThread<[string, string, string, number, string]>;
const libcUmount2 = libc.func('int umount2(const char *target, int flags)') as unknown as OffThread<
  [string, number]
>;

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
  const { source, target, type, flags, options } = spec;
  return checkedOffThread(`mount ${source}`, libcMount, source, target, type, flags, options);
}

/**
 * Equals: `umount TARGET`, with `unmountFlags.detach`: `umount --lazy TARGET`
 *
 * @throws {SystemCallError} EBUSY while in use, EINVAL when nothing is mounted there
 */
export function unmount(target: string, flags = 0): Promise<void> {
  return checkedOffThread(`umount ${target}`, libcUmount2, target, flags | unmountFlags.noFollow);
}
