import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Machine } from './follow.js';

const run = promisify(execFile);
const bootMs = 60_000;
const commandMs = 600_000;

/** As `systemdHostInit` of the units' tests does, without a lab around it. */
const boot = `set -e
layer=$1 base=$2 name=$3 group=$4
mount -t tmpfs -o mode=755 tmpfs "$layer"
mkdir -m 755 "$layer"/{upper,work,root,bpf}
mount -t overlay -o "lowerdir=$base,upperdir=$layer/upper,workdir=$layer/work" overlay "$layer/root"
mount -t bpf bpf "$layer/bpf"
echo "$name" > "$layer/root/etc/hostname"
rm -f "$layer/root/etc/machine-id"
od -An -N16 -tx1 /dev/urandom | tr -d ' \\n' > "$layer/root/etc/machine-id"
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/$group/$name"
echo 0 > "/sys/fs/cgroup/$group/$name/cgroup.procs"
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0 SYSTEMD_SECCOMP=0
exec systemd-nspawn --quiet --directory="$layer/root" --machine="$name" --boot --register=no --keep-unit \\
  --console=pipe --link-journal=no --resolv-conf=off --timezone=off --capability=all \\
  --bind=/dev/fuse --bind=/dev/loop-control --bind="$layer/bpf:/sys/fs/bpf"
`;

export interface BareMachineOptions {
  readonly name: string;
  readonly base: string;
  /** An empty folder; a tmpfs of the machine's own comes to lie on it. */
  readonly layer: string;
  /** Below the root of the unified hierarchy. */
  readonly cgroup: string;
  /** Name of the network namespace that it boots in. */
  readonly namespace: string;
}

/** A machine of its own systemd, as it is after Debian's installation. */
export class BareMachine implements Machine {
  readonly #options: BareMachineOptions;
  readonly #container: ChildProcess;
  /** Its first process, as this machine numbers it. */
  readonly pid: number;

  private constructor(options: BareMachineOptions, container: ChildProcess, pid: number) {
    this.#options = options;
    this.#container = container;
    this.pid = pid;
  }

  static async powerOn(options: BareMachineOptions): Promise<BareMachine> {
    const { layer, base, name, cgroup, namespace } = options;
    const enter = [`--net=/run/netns/${namespace}`, 'unshare', '--mount', '--'];
    const argv = [...enter, 'bash', '-c', boot, 'boot', layer, base, name, cgroup];
    const container = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [container.stdout, container.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        said = `${said}${chunk.toString()}`.slice(-4_000);
      });
    }
    for (const endMs = Date.now() + bootMs; ; await pause(50)) {
      if (container.exitCode !== null || Date.now() > endMs) {
        container.kill('SIGKILL');
        throw new Error(`${name} does not boot: ${said}`);
      }
      const pid = firstProcess(container.pid ?? 0);
      if (pid === undefined) continue;
      const machine = new BareMachine(options, container, pid);
      if (await machine.#isUp()) return machine;
    }
  }

  get name(): string {
    return this.#options.name;
  }

  /** As root's own shell there; all that it prints. Throws with that when it fails. */
  async shell(script: string): Promise<string> {
    const { stdout, stderr } = await this.#enter(['bash', '-ec', script], commandMs);
    return `${stdout}${stderr}`;
  }

  /** Its plug is pulled: the link goes dead, then every process. Also for the second time. */
  async cut(): Promise<void> {
    const { namespace } = this.#options;
    await run('ip', ['-n', namespace, 'link', 'set', 'eth1', 'down']).catch(() => undefined);
    if (this.#container.exitCode !== null || this.#container.signalCode !== null) return;
    const gone = once(this.#container, 'exit');
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
    await gone;
  }

  async #isUp(): Promise<boolean> {
    try {
      const { stdout } = await this.#enter(['systemctl', 'is-system-running', '--wait'], bootMs);
      return /running/.test(stdout);
    } catch (thrown) {
      // A container has units that cannot start; before it listens, there is no answer at all.
      return /degraded/.test(String((thrown as { stdout?: string }).stdout));
    }
  }

  #enter(argv: readonly string[], timeoutMs: number) {
    const enter = ['-t', String(this.pid), '-m', '-u', '-i', '-n', '-p', '--wdns=/root', '--'];
    // Of the test runner's surroundings nothing goes in.
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    const clean = ['env', '-i', 'HOME=/root', path, 'DEBIAN_FRONTEND=noninteractive', ...argv];
    return run('nsenter', [...enter, ...clean], {
      timeout: timeoutMs,
      maxBuffer: 16 * 1024 * 1024,
    });
  }
}

function firstProcess(parent: number): number | undefined {
  try {
    const pid = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').split(' ')[0];
    if (pid === undefined || pid === '') return undefined;
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'systemd' ? Number(pid) : undefined;
  } catch {
    return undefined;
  }
}
