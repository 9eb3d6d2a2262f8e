import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  unlinkSync,
} from 'node:fs';
import { dirname } from 'node:path';
import koffi from 'koffi';
import { check, errno, libc } from './libc.js';

/** Named network namespaces, in the form of `ip netns` (ip-netns(8)): a file with the namespace mounted on it. */
const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const MS_REC = 16384;
const MS_SHARED = 1 << 20;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
/** statfs(2): magic number of the file system that namespaces live in. */
const NSFS_MAGIC = 0x6e736673;

const libcUnshare = libc.func('int unshare(int flags)');
const libcSetns = libc.func('int setns(int fd, int type)');
const libcMount = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, void *data)',
);
const libcUmount2 = libc.func('int umount2(const char *target, int flags)');

/** Whether a network (or other) namespace is mounted at `path`; false also when there is no such file. */
export function isNamespaceMounted(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw thrown;
  }
}

/** What tells one namespace from the next that is mounted under the same name. */
export function namespaceIdentity(path: string): string {
  const { dev, ino } = lstatSync(path, { bigint: true });
  return `${dev}:${ino}`;
}

/**
 * Makes a network namespace, runs `inside` in it, and then gives it its name, so that whoever finds
 * the name finds what `inside` did. One synchronous step; `inside` must not await.
 *
 * Equals: `ip netns add NAME`
 *
 * @throws {SystemCallError} of unshare or mount; what `inside` throws. No name is left then.
 */
export function makeNamespace(path: string, inside: () => void): void {
  shareMountsOf(dirname(path));
  inNewNamespace(() => {
    inside();
    mountOwnNamespace(path);
  });
}

/**
 * Runs `inside` in a network namespace of its own, without a name: it lasts as long as a descriptor of
 * it or a socket that was opened in it. One synchronous step; `inside` must not await.
 */
export function inNewNamespace<T>(inside: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    check('unshare', libcUnshare(CLONE_NEWNET));
    try {
      return inside();
    } finally {
      // Whatever this thread did next would act on the wrong network.
      if (libcSetns(home, CLONE_NEWNET) < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

function mountOwnNamespace(path: string): void {
  const made = !exists(path);
  if (made) closeSync(openSync(path, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, 0));
  try {
    check(`mount ${path}`, libcMount('/proc/thread-self/ns/net', path, 'none', MS_BIND, null));
  } catch (thrown) {
    if (made) unlinkSync(path);
    throw thrown;
  }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/**
 * Makes the folder a shared mount, as `ip netns add` does: a namespace mounted or unmounted in it
 * then appears and goes in every mount namespace (else another one would hold it for ever).
 */
function shareMountsOf(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (isSharedMount(folder)) return;
  const share = () => libcMount('', folder, 'none', MS_SHARED | MS_REC, null) as number;
  if (share() === 0) return;
  // EINVAL: not a mount point yet.
  if (koffi.errno() !== errno.EINVAL) check(`mount --make-shared ${folder}`, -1);
  check(`mount --bind ${folder}`, libcMount(folder, folder, 'none', MS_BIND | MS_REC, null));
  check(`mount --make-shared ${folder}`, share());
}

/** proc_pid_mountinfo(5): field 5 is the mount point, optional fields hold `shared:N`. */
function isSharedMount(folder: string): boolean {
  return readFileSync('/proc/thread-self/mountinfo', 'utf8')
    .split('\n')
    .some((line) => {
      const fields = line.split(' ');
      return fields[4] === folder && fields.slice(6).some((field) => field.startsWith('shared:'));
    });
}

/**
 * Takes the name away. The namespace itself ends with the last process and socket in it. Idempotent.
 *
 * Equals: `ip netns delete NAME`
 */
export function removeNamespaceName(path: string): void {
  if (!exists(path)) return;
  // The same name may have been mounted over more than once; each layer is one unmount.
  for (let layer = 0; layer < 8 && isNamespaceMounted(path); layer += 1) {
    check(`umount ${path}`, libcUmount2(path, MNT_DETACH | UMOUNT_NOFOLLOW));
  }
  unlinkSync(path);
}
