import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { guestSocket, runInVm } from '../../../src/lab/vm/guest.js';
import type { VmImage } from '../../../src/lab/vm/image.js';
import { machineSocket } from '../../../src/lab/vm/machine.js';
import type { Machine } from '../../soak/quick-start/follow.js';

const run = promisify(execFile);
/** Four at once, on two cores that others use too. */
const bootMs = 900_000;
const lookAgainMs = 500;
/** Where it is plugged in decides its NIC's name. */
const slot = 16;
export const nic = `enp0s${slot}`;

export interface BareVmOptions {
  readonly name: string;
  /** Its last byte, and its MAC's. */
  readonly number: number;
  readonly image: VmImage;
  /** Of its own; its disk and the lines to it come to lie here. */
  readonly folder: string;
  /** The network namespace with the bridge `lan`. */
  readonly namespace: string;
  /** For one command. */
  readonly commandMs: number;
}

/**
 * A virtual machine as it is after Debian's installation. What is typed gets in by qemu's guest agent. Its
 * disk is its own: what was synced is there when it has power again.
 */
export class BareVm implements Machine {
  readonly #options: BareVmOptions;
  #emulator: ChildProcess | undefined;

  private constructor(options: BareVmOptions) {
    this.#options = options;
  }

  /** Of the installer's answers it has a name, an address and its own random id. */
  static async install(options: BareVmOptions): Promise<BareVm> {
    const { name, number, image, folder, namespace } = options;
    const files: Record<string, string> = {
      '/etc/hostname': `${name}\n`,
      '/etc/hosts': `127.0.0.1 localhost\n127.0.1.1 ${name}\n`,
      '/etc/machine-id': `${crypto.randomUUID().replaceAll('-', '')}\n`,
      '/etc/systemd/network/10-lan.network': network(number),
    };
    mkdirSync(folder);
    const disk = join(folder, 'disk');
    await run('cp', ['--sparse=always', image.disk, disk]);
    const commands = Object.entries(files).map(([path, text], index) => {
      const file = join(folder, `file-${index}`);
      writeFileSync(file, text);
      return `rm ${path}\nwrite ${file} ${path}\n`;
    });
    const script = join(folder, 'debugfs');
    writeFileSync(script, commands.join(''));
    await run('debugfs', ['-w', '-f', script, disk]);
    const tap = ['tuntap', 'add', 'dev', name, 'mode', 'tap'];
    await run('ip', ['-n', namespace, ...tap]);
    await run('ip', ['-n', namespace, 'link', 'set', name, 'master', 'lan']);
    return new BareVm(options);
  }

  get name(): string {
    return this.#options.name;
  }

  /** Resolves when it has booted. */
  async powerOn(): Promise<void> {
    const { name, folder, namespace } = this.#options;
    await run('ip', ['-n', namespace, 'link', 'set', name, 'up']);
    // A test that is killed leaves none; the rest is as a lab has it (src/lab/vm/host-init.ts).
    const start = [`--net=/run/netns/${namespace}`, 'setpriv', '--pdeathsig', 'KILL'];
    const nice = ['nice', '-n', '-5', 'qemu-system-x86_64'];
    const emulator = spawn('nsenter', [...start, ...nice, ...hardware(this.#options)], {
      ...{ cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
    });
    this.#emulator = emulator;
    let said = '';
    emulator.stderr?.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-2_000);
    });
    for (const endMs = Date.now() + bootMs; ; await pause(lookAgainMs)) {
      if (emulator.exitCode !== null) throw new Error(`${name} has no power: ${said}`);
      const answers = await runInVm(folder, ['true']).then(
        () => true,
        () => false,
      );
      if (answers) break;
      if (Date.now() > endMs) throw new Error(`${name} does not boot`);
    }
    await this.#within(bootMs, ['systemctl', 'is-system-running', '--wait']);
    // udev may come to the NIC, and name it, when all else has started.
    const online = ['/usr/lib/systemd/systemd-networkd-wait-online', `--interface=${nic}`];
    const { code, said: why } = await this.#within(bootMs, [...online, '--timeout=0']);
    if (code !== 0) throw new Error(`${name} has no address: ${why}`);
  }

  async shell(script: string): Promise<string> {
    // The agent has a better priority than people's shells.
    const argv = ['nice', '-n', '15', 'bash', '-ec', script];
    const { code, said } = await this.#within(this.#options.commandMs, argv);
    if (code !== 0) throw Object.assign(new Error(`ended with ${code}`), { stdout: said });
    return said;
  }

  /** Its plug is pulled: the link goes dead, then the processor. Also for the second time. */
  async cut(): Promise<void> {
    const { namespace, name } = this.#options;
    await run('ip', ['-n', namespace, 'link', 'set', name, 'down']).catch(() => undefined);
    const emulator = this.#emulator;
    if (emulator === undefined || emulator.exitCode !== null || emulator.signalCode !== null)
      return;
    const gone = once(emulator, 'exit');
    emulator.kill('SIGKILL');
    await gone;
  }

  /** In root's own surroundings, as the machines in containers do. */
  async #within(ms: number, argv: readonly string[]) {
    const { folder, name } = this.#options;
    const stop = new AbortController();
    const late = pause(ms, undefined, { signal: stop.signal }).then(() => {
      throw new Error(`${name} took more than ${ms} ms for ${argv.at(-1)}`);
    });
    try {
      const typed = ['env', 'DEBIAN_FRONTEND=noninteractive', ...argv];
      const ran = runInVm(folder, typed, lookAgainMs);
      const { code, stdout, stderr } = await Promise.race([ran, late]);
      return { code, said: `${stdout}${stderr}` };
    } finally {
      stop.abort();
      late.catch(() => undefined);
    }
  }
}

const network = (number: number) => `[Match]
Name=${nic}
[Network]
Address=192.0.2.${number}/24
`;

/** What is behind `systemd.` on the command line are systemd's 90 s: an emulated disk may need longer. */
const commandLine = [
  'root=/dev/vda ro quiet console=ttyS0 panic=-1 audit=0 nowatchdog cryptomgr.notests mitigations=off',
  'random.trust_cpu=on systemd.default_timeout_start_sec=1200 systemd.default_device_timeout_sec=1200',
].join(' ');

function hardware({ name, number, image }: BareVmOptions): readonly string[] {
  const mac = `02:55:4d:00:01:0${number}`;
  return [
    ...['-name', name, '-machine', 'q35', '-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max'],
    ...['-smp', '1', '-m', '1024', '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-serial', 'file:console', '-kernel', image.kernel, '-initrd', image.initrd],
    ...['-append', commandLine],
    ...['-drive', 'if=none,id=root,file=disk,format=raw,cache=unsafe'],
    ...['-device', 'virtio-blk-pci,drive=root'],
    ...['-netdev', `tap,id=lan,ifname=${name},script=no,downscript=no,vnet_hdr=off`],
    ...['-device', `virtio-net-pci,netdev=lan,mac=${mac},addr=0x${slot.toString(16)},romfile=`],
    ...['-device', 'virtio-rng-pci', '-device', 'virtio-serial-pci'],
    ...['-chardev', `socket,id=agent,path=${guestSocket},server=on,wait=off`],
    ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
    ...['-qmp', `unix:${machineSocket},server=on,wait=off`],
  ];
}
