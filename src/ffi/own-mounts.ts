import { closeSync, constants, openSync } from 'node:fs';
import { check, libc } from './libc.js';

const CLONE_NEWNS = 0x00020000;
const MS_BIND = 4096;
const MS_REC = 16384;
const MS_PRIVATE = 1 << 18;

const unshare = libc.func('int unshare(int flags)') as (flags: number) => number;
const setns = libc.func('int setns(int fd, int type)') as (fd: number, type: number) => number;
const fchdir = libc.func('int fchdir(int fd)') as (fd: number) => number;
const chroot = libc.func('int chroot(const char *path)') as (path: string) => number;
const mount = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
) as (source: string, target: string, type: string, flags: number, data: string | null) => number;

export interface Bind {
  readonly source: string;
  readonly target: string;
}

/**
 * Has the programs that `action` starts see folders in place of others, which nobody else does: this thread
 * is in a mount namespace of its own for as long as `action` takes, which must not await. What it starts
 * stays there, and the namespace ends with the last of them. From then on the thread has root, working
 * directory and umask (the same as before) for itself, and shares them with no other.
 *
 * Equals: `unshare --mount --propagation private sh -c 'mount --bind SOURCE TARGET && exec …'` without the
 * three programs in between
 *
 * @throws {SystemCallError} of unshare or mount; what `action` throws
 */
export function withOwnMounts<T>(binds: readonly Bind[], action: () => T): T {
  const kept: number[] = [];
  const keep = (path: string, flags: number) => {
    const fd = openSync(path, flags);
    kept.push(fd);
    return fd;
  };
  try {
    const home = keep('/proc/thread-self/ns/mnt', constants.O_RDONLY);
    const root = keep('/', constants.O_RDONLY | constants.O_DIRECTORY);
    const folder = keep('.', constants.O_RDONLY | constants.O_DIRECTORY);
    check('unshare', unshare(CLONE_NEWNS));
    try {
      check('mount --make-rprivate /', mount('none', '/', '', MS_REC | MS_PRIVATE, null));
      for (const { source, target } of binds) {
        check(`mount --bind ${source} ${target}`, mount(source, target, '', MS_BIND, null));
      }
      return action();
    } finally {
      // setns(2) leaves the root of that namespace as root and working directory, whatever they were before.
      const back =
        setns(home, CLONE_NEWNS) === 0 &&
        fchdir(root) === 0 &&
        chroot('.') === 0 &&
        fchdir(folder) === 0;
      // Whatever this thread did next would be done to the wrong files.
      if (!back) process.abort();
    }
  } finally {
    for (const fd of kept) closeSync(fd);
  }
}
