import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** debootstrap on a slow mirror. */
const longestMs = 1_800_000;

/**
 * The root of a machine on which nothing but Debian 13 was installed, made once and kept: machines stand on
 * it by overlays, and only `download` adds to it.
 */
export async function bareRoot(): Promise<string> {
  const path = '/var/cache/understudy/bare-trixie';
  if (existsSync(path)) return path;
  const unfinished = `${path}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(dirname(path), { recursive: true });
  const tools = '--include=systemd,systemd-sysv,dbus,iproute2,ca-certificates';
  await run('debootstrap', ['--variant=minbase', tools, 'trixie', unfinished], {
    timeout: longestMs,
  });
  renameSync(unfinished, path);
  return path;
}

/**
 * Fresh lists of packages, and in apt's cache all that these need (ours by its path in the root): the
 * machines of the test have no way out. Nothing is installed.
 */
export async function download(root: string, packages: readonly string[]): Promise<void> {
  const inRoot = (...argv: readonly string[]) =>
    run('chroot', [root, 'env', 'DEBIAN_FRONTEND=noninteractive', ...argv], {
      timeout: longestMs,
      maxBuffer: 16 * 1024 * 1024,
    });
  await inRoot('apt-get', 'update', '-q');
  await inRoot('apt-get', 'install', '-y', '-q', '--download-only', ...packages);
}
