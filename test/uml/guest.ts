import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * One command in a user-mode-linux guest: a Linux kernel of its own, as a process, with what this
 * machine's kernel may lack (802.1Q). Its root is the machine's, read-only, below an overlay that is
 * gone with the guest; it has no network but what the command makes.
 */
export interface GuestOptions {
  readonly command: readonly string[];
  readonly workingDirectory: string;
  /** Loaded before the command runs, by name (modprobe(8)). */
  readonly modules: readonly string[];
  readonly memoryMiB?: number;
  readonly timeoutMs: number;
  /** Told of each line of the command's output, both streams together, as it comes. */
  readonly onLine?: (line: string) => void;
}

export interface GuestResult {
  readonly code: number;
  readonly output: string;
}

const kernel = '/usr/bin/linux.uml';
const modulesFolder = '/usr/lib/uml/modules';
const shim = new URL('../../../native/uml-xstate.c', import.meta.url).pathname;

/** Why no guest can be run here; undefined when one can. */
export function guestMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can mount what a guest needs';
  return existsSync(kernel) ? undefined : 'user-mode-linux is not installed (npm run setup)';
}

/**
 * PID 1 of the guest, on the read-only root: an overlay on top, which becomes the root. hostfs shows
 * files as they were when first looked up, so everything is there before the guest starts.
 */
const init = (control: string) => `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
fail() { echo "guest: $1"; busybox halt -f; }
mount -t proc proc /proc
busybox insmod ${modulesFolder}/$(uname -r)/kernel/fs/overlayfs/overlay.ko || fail 'no overlay'
mount -t tmpfs -o size=80% tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work,index=off,xino=off overlay /mnt/root || fail 'no overlay root'
mkdir -p /mnt/root/guest-control /mnt/root/guest-host /mnt/root/lib/modules
ln -sfn ${modulesFolder}/$(uname -r) /mnt/root/lib/modules/$(uname -r)
mount -t hostfs -o ${control} none /mnt/root/guest-control || fail 'no hostfs'
umount /proc
cd /mnt/root
pivot_root . guest-host
exec chroot . sh /guest-control/main
`;

/** Then what a command expects of a machine, the command itself, and the end. */
const main = (options: GuestOptions) => `mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
mount -t bpf bpf /sys/fs/bpf
hostname guest
ip link set lo up
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1
stty -F /dev/ttyS0 raw -echo
for module in ${options.modules.join(' ')}; do busybox modprobe "$module"; done
cd ${word(options.workingDirectory)}
${options.command.map(word).join(' ')} < /dev/null > /dev/ttyS0 2>&1
echo $? > /guest-control/code
sync -f /guest-control/code
busybox stty -F /dev/ttyS0 > /dev/null 2>&1
busybox halt -f
`;

function word(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Runs it to its end, or kills it. Nothing stays: not its processes, its files or its memory. */
export async function runInGuest(options: GuestOptions): Promise<GuestResult> {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-guest-'));
  try {
    writeFileSync(join(folder, 'init'), init(folder), { mode: 0o755 });
    writeFileSync(join(folder, 'main'), main(options));
    writeFileSync(join(folder, 'code'), '');
    const library = join(folder, 'uml-xstate.so');
    execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', library, shim]);
    const child = start(folder, library, options.memoryMiB ?? 512);
    const { output, console } = await watch(child, options);
    const code = readFileSync(join(folder, 'code'), 'utf8').trim();
    if (code === '')
      throw new Error(`the guest ended before its command did:\n${console}${output}`);
    return { code: Number(code), output };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * In a PID namespace of its own, whose end ends every process of the guest; and that comes, by the
 * kernel, when this process ends, however it does.
 */
function start(folder: string, library: string, memoryMiB: number): ChildProcess {
  const argv = [
    ...['--pdeathsig', 'KILL', '--', 'unshare', '--pid', '--fork', '--kill-child', '--mount-proc'],
    // Without address randomization: the guest's memory has a fixed place.
    ...['setarch', '-R', kernel, `mem=${memoryMiB}M`, `uml_dir=${folder}/`, 'umid=guest'],
    ...['root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro', 'quiet', `init=${folder}/init`],
    // The kernel's console on standard error, the command on a serial line to standard output.
    ...['con=null', 'con0=null,fd:2', 'ssl=null', 'ssl0=null,fd:1'],
  ];
  return spawn('setpriv', argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LD_PRELOAD: library, TMPDIR: '/dev/shm' },
  });
}

function watch(
  child: ChildProcess,
  { timeoutMs, onLine }: GuestOptions,
): Promise<{ output: string; console: string }> {
  return new Promise((resolve, reject) => {
    const output: string[] = [];
    const console: string[] = [];
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    if (child.stdout === null || child.stderr === null) return reject(new Error('no pipes'));
    createInterface({ input: child.stdout }).on('line', (line) => {
      output.push(`${line}\n`);
      onLine?.(line);
    });
    child.stderr.on('data', (chunk: Buffer) => console.push(chunk.toString()));
    child.once('error', reject);
    child.once('close', () => {
      clearTimeout(timer);
      const said = { output: output.join(''), console: console.join('') };
      if (!late) return resolve(said);
      reject(new Error(`not done after ${timeoutMs} ms:\n${said.console}${said.output}`));
    });
  });
}
