import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);
let made = 0;

/** A network namespace of a test's own: `ustest-<pid>-<file>-N`, away again at its end. */
export class TestNamespace {
  readonly name: string;
  readonly path: string;

  constructor(t: { teardown(action: () => void): void }, label: string, name?: string) {
    made += 1;
    this.name = name ?? `ustest-${process.pid}-${label}${made}`;
    this.path = `/run/netns/${this.name}`;
    execFileSync('ip', ['netns', 'add', this.name]);
    t.teardown(() => execFileSync('ip', ['netns', 'delete', this.name]));
    this.ip('link set lo up');
  }

  ip(command: string): string {
    return execFileSync('ip', ['-n', this.name, ...command.split(' ')], { encoding: 'utf8' });
  }

  /** Runs a command inside; resolves with its output, rejects when it fails. */
  async exec(...command: readonly string[]): Promise<string> {
    return (await run('ip', ['netns', 'exec', this.name, ...command])).stdout;
  }

  tc(command: string): string {
    return execFileSync('tc', ['-n', this.name, ...command.split(' ')], { encoding: 'utf8' });
  }

  set(sysctl: string, value: number): void {
    execFileSync('ip', ['netns', 'exec', this.name, 'sysctl', '-qw', `${sysctl}=${value}`]);
  }

  /** How many of three echo requests are answered. */
  async pings(address: string): Promise<number> {
    const command = ['ping', '-n', '-q', '-c', '3', '-i', '0.05', '-W', '0.3', address];
    const output = await this.exec(...command).catch(
      (thrown: { stdout?: string }) => thrown.stdout ?? '',
    );
    return Number(/(\d+) received/.exec(output)?.[1] ?? 0);
  }

  /** Frames that arrived at a device. */
  received(device: string): number {
    const [link] = JSON.parse(this.ip(`-s -j link show dev ${device}`)) as {
      stats64: { rx: { packets: number } };
    }[];
    return link?.stats64.rx.packets ?? 0;
  }
}

/** Both know the other's MAC: address resolution waits a second after a try that failed. */
export function acquaint(
  one: { readonly at: TestNamespace; readonly device: string; readonly address: string },
  other: { readonly at: TestNamespace; readonly device: string; readonly address: string },
): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    const [link] = JSON.parse(to.at.ip(`-j link show dev ${to.device}`)) as { address: string }[];
    from.at.ip(`neigh replace ${to.address} lladdr ${link?.address} dev ${from.device}`);
  }
}

/** A cable between two namespaces: `eth1` in each, up, and silent by itself (no IPv6). */
export function cable(one: TestNamespace, other: TestNamespace): void {
  one.ip(`link add eth1 type veth peer name eth1 netns ${other.name}`);
  for (const end of [one, other]) {
    if (existsSync('/proc/sys/net/ipv6')) end.set('net.ipv6.conf.eth1.disable_ipv6', 1);
    end.ip('link set eth1 up');
  }
}
