import { readdir, readlink, stat } from 'node:fs/promises';
import { UnderstudyError } from '../errors.js';
import { mounts } from './mountinfo.js';

/** Who still uses a volume. */
export interface Holder {
  /** "nginx (812)" */
  readonly name: string;
  /** As this process can reach it. */
  readonly place: string;
}

const maxNamed = 8;

export function busyError(
  mountPoint: string,
  holders: readonly Pick<Holder, 'name'>[],
): UnderstudyError {
  const names = holders.map(({ name }) => name).join(', ');
  return new UnderstudyError({
    code: 'US_STORAGE_BUSY',
    action: 'cannot unmount',
    object: mountPoint,
    cause: `in use by ${names || 'a process that cannot be seen from here'}`,
    remedy: 'stop what uses it',
  });
}

/** Processes with a file, working or root directory below a mount point. At most 8. */
export async function usersOf(mountPoint: string): Promise<readonly Holder[]> {
  const inside = (path: string) => path === mountPoint || path.startsWith(`${mountPoint}/`);
  return scanProcesses(async (pid) => {
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const link of ['cwd', 'root', ...fds.map((fd) => `fd/${fd}`)]) {
      const path = await readlink(`/proc/${pid}/${link}`).catch(() => '');
      if (inside(path)) return path;
    }
    return undefined;
  });
}

/** Processes in whose mount namespace a device (`major:minor`) is mounted. At most 8. */
export async function mountersOf(device: string): Promise<readonly Holder[]> {
  return scanProcesses(async (pid) => {
    const mount = (await mounts(pid)).find((found) => found.device === device);
    // mountinfo tells paths from the root of that process.
    return mount && `/proc/${pid}/root${mount.mountPoint}`;
  });
}

/** Processes that have a block device (`major:minor`) itself open. At most 8. */
export async function openersOf(device: string): Promise<readonly Holder[]> {
  return scanProcesses(async (pid) => {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const path = `/proc/${pid}/fd/${fd}`;
      const found = await stat(path).catch(() => undefined);
      if (found?.isBlockDevice() && numberOf(found.rdev) === device) return path;
    }
    return undefined;
  });
}

/** As the kernel writes it; glibc's gnu_dev_major and gnu_dev_minor (makedev(3)), below 2^32. */
function numberOf(rdev: number): string {
  return `${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`;
}

async function scanProcesses(
  placeOf: (pid: number) => Promise<string | undefined>,
): Promise<readonly Holder[]> {
  const found: Holder[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || found.length >= maxNamed) continue;
    const place = await placeOf(Number(pid));
    if (place === undefined) continue;
    const program = await readlink(`/proc/${pid}/exe`).catch(() => '?');
    found.push({ name: `${program.split('/').at(-1)} (${pid})`, place });
  }
  return found;
}
