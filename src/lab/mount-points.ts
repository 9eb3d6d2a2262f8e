import { readFileSync } from 'node:fs';

/** File systems that are made anew in a lab, or that belong to somebody. */
const notDisks =
  /^(proc|sysfs|devtmpfs|devpts|cgroup2?|bpf|nsfs|mqueue|hugetlbfs|debugfs|tracefs|securityfs|fusectl|configfs|pstore|efivarfs|autofs|binfmt_misc|rpc_pipefs|ramfs|fuse.*)$/;
const ours = ['/proc', '/sys', '/dev', '/run'];
const temporary = ['/tmp', '/var/tmp'];

/**
 * Mount points of the machine that a lab needs beside its root: other disks, such as /home or /usr.
 * All else is left out, so that the lab keeps nothing in use: what is below /run and /dev, loop
 * devices, other file systems of user space. Temporary folders of the machine are only taken where
 * `needed` (the checkout, the node program) lies in them.
 *
 * @param mountinfo text of /proc/self/mountinfo (proc_pid_mountinfo(5))
 */
export function mountPointsToKeep(mountinfo: string, needed: readonly string[]): readonly string[] {
  const points = mountinfo.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const point = unescaped(left.split(' ')[4] ?? '');
    const [type = '', source = ''] = right.split(' ');
    if (point === '' || point === '/' || ours.some((folder) => within(folder, point))) return [];
    const isNeeded = needed.some((path) => within(point, path));
    const isDisk =
      !notDisks.test(type) &&
      !source.startsWith('/dev/loop') &&
      !temporary.some((folder) => within(folder, point));
    return isNeeded || isDisk ? [point] : [];
  });
  return [...new Set(points)];
}

export function ownMountPoints(needed: readonly string[]): readonly string[] {
  return mountPointsToKeep(readFileSync('/proc/self/mountinfo', 'utf8'), needed);
}

function within(folder: string, path: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** Octal escapes of space, tab, newline and backslash. */
function unescaped(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
