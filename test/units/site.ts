import type { ChildProcess } from 'node:child_process';
import type { Test } from 'tap';
import { must, personality } from '../../src/demo/stage.js';
import { openSystemdLab, type SystemdLab, type UnitLab } from './harness.js';

export const owners = ['h1', 'h2', 'h3'] as const;
export const storageHost = 'st';
const target = 'iqn.2026-11.example.lab:web1';

/** Three controllers, and a storage host that systemd runs as well: Debian's tgt, our unit beside it. */
const file = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}, {name: ${storageHost}, pool: none}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
volumes:
  - {name: web1-data, portals: [10.77.0.104:3260], target: "${target}", lun: 1, format: if-blank}
personalities:
  - name: web-1
    networks: [{network: blue, address: 10.10.0.11/24}]
    storage: [{lun: 0, volume: web1-data, mount: /srv/shop}]
    workload: {command: [busybox, httpd, -f, -p, "80", -h, /srv/shop]}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

/** As docs/targets.md has it. */
const storageSetUp = `
grep -q '^host: ${storageHost}$' /opt/packages/agent.yaml || exit 0
mkdir -p /srv/luns
truncate -s 64M /srv/luns/web1-data
cat > /etc/tgt/conf.d/web1.conf << END
<target ${target}>
  backing-store /srv/luns/web1-data
  initiator-address 192.0.2.1
</target>
END
sed -n '/^cluster:/p; /^store:/,/^[^ s]/{/^store:/p; /^ /p}' /opt/packages/agent.yaml > /etc/understudy/target.yaml
systemctl enable --now tgt
systemctl enable --now --no-block understudy-target
`;

export const openSite = (t: Test, cluster: string): Promise<SystemdLab> =>
  openSystemdLab(t, cluster, { file, alsoAtBoot: storageSetUp });

/** Where web-1 is, and what there would be another if it had been made anew. */
export interface Standing {
  readonly host: string;
  readonly epoch: number;
  readonly incarnation: number;
  /** Process of its workload; '' while none runs. */
  readonly workload: string;
  /** Its disk's process and the number of its mount. */
  readonly disk: string;
}

const workloadProcess = `pgrep -f '^(/bin/)?busybox httpd' || :`;
const diskAndMount = `for pid in $(pgrep -f '^qemu-storage-daemon.* --monitor'); do
  if ls -l /proc/$pid/fd 2> /dev/null | grep -q /dev/fuse; then echo disk $pid; fi
done
sed -n 's,^\\([0-9]*\\) .* /run/understudy/web-1/0 .*,mount \\1,p' /proc/self/mountinfo`;

export async function standing({ stage, shell }: UnitLab): Promise<Standing> {
  const status = await stage.status();
  const { host, epoch } = personality(status, 'web-1');
  const incarnation = status.hosts.find(({ name }) => name === host)?.incarnation ?? 0;
  // Each host counts its processes by itself: two may have the same number.
  const found = async (script: string) => {
    const name = (await shell(host ?? '', script)).trim();
    return name === '' ? '' : `${name} on ${host}`;
  };
  const workload = await found(workloadProcess);
  const disk = await found(diskAndMount);
  return { host: host ?? '', epoch, incarnation, workload, disk };
}

/** Someone who writes on the volume, each line synced; and remembers which ones were acknowledged. */
export interface Writes {
  /** Goes on until its personality goes. */
  ensure(): void | Promise<void>;
  /** With all that it has asked for answered. */
  stop(): Promise<void>;
  /** Whether it writes still as it did, without having been begun anew. */
  goesOn(): Promise<boolean>;
  readonly acknowledged: number;
  /** Acknowledged lines that are not there. */
  lost(): Promise<readonly number[]>;
}

/** As a process of the personality that never rests. */
export class Writer implements Writes {
  readonly #world: UnitLab;
  #acknowledged = 0;
  #running = false;
  #child: ChildProcess | undefined;

  constructor(world: UnitLab) {
    this.#world = world;
  }

  ensure(): void {
    if (this.#running) return;
    this.#running = true;
    const script = `n=$1
while n=$((n+1)); do
  echo $n >> /srv/shop/log && sync -d /srv/shop/log || exit 1
  echo $n
  sleep 0.1
done`;
    const { lab } = this.#world.stage;
    const child = lab.spawn('web-1', ['sh', '-c', script, 'writer', String(this.#acknowledged)]);
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => {
      const last = chunk.toString().trim().split('\n').at(-1);
      this.#acknowledged = Math.max(this.#acknowledged, Number(last));
    });
    child.once('close', () => {
      this.#running = false;
    });
  }

  async stop(): Promise<void> {
    if (!this.#running) return;
    const gone = new Promise((resolve) => this.#child?.once('close', resolve));
    this.#child?.kill('SIGTERM');
    await gone;
  }

  async goesOn(): Promise<boolean> {
    return this.#running;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  lost(): Promise<readonly number[]> {
    return missingLines(this.#world, this.#acknowledged);
  }
}

/** Of the numbers up to the last acknowledged one. */
export async function missingLines(world: UnitLab, all: number): Promise<readonly number[]> {
  const text = await must(world.stage, 'web-1', ['cat', '/srv/shop/log']);
  const there = new Set(text.split('\n').map(Number));
  return Array.from({ length: all }, (_, index) => index + 1).filter((one) => !there.has(one));
}

/** What a client reads for as long as the volume is there. */
export async function writeIndex({ stage }: UnitLab): Promise<void> {
  const index = 'echo kept > /srv/shop/index.html; sync -f /srv/shop';
  await must(stage, 'web-1', ['sh', '-c', index]);
}

/** Every host is up with a lease, and all but the owner have nothing on them. */
export async function calm({ stage }: UnitLab, limitMs = 60_000): Promise<void> {
  await stage.until(
    'all hosts are up again',
    ({ hosts }) =>
      hosts.every((one) => one.state === 'up' && (!one.controller || one.granting === true)),
    limitMs,
  );
}
