import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { basename, join } from 'node:path';
import type { AgentConfig } from '../agent/config.js';
import type { ClusterConfig } from '../config/types.js';
import { libbpfVersion, loadLibrary } from '../ffi/bpf-probe.js';
import { type Offloads, offloadsOf } from '../ffi/ethtool.js';
import { inSubnet, ipBytes, parseCidr } from '../network/addresses.js';
import { ownVersion } from '../version.js';
import type {
  FileFacts,
  HostFacts,
  Needs,
  ProgramFacts,
  UnderlayFacts,
  UnitFacts,
} from './facts.js';
import { attempt, gatherKernel } from './gather-kernel.js';

/** Everything about this host. Changes nothing that stays. */
export async function gatherHost(
  agent: { readonly path: string; readonly config: AgentConfig } | undefined,
): Promise<Omit<HostFacts, 'needs' | 'secrets' | 'scripts' | 'paths'>> {
  const config = agent?.config;
  return {
    host: config?.host ?? '',
    root: process.getuid?.() === 0,
    kernel: await gatherKernel(config?.bpffs ?? '/sys/fs/bpf', config?.storageBackend ?? 'user'),
    sysctls: sysctls(config?.underlayInterface),
    network: {
      underlay: config === undefined ? undefined : underlay(config),
      sharedSubnets: sharedSubnets(),
    },
    clock: clock(),
    limits: limits(),
    units: units(),
    files: agent === undefined ? [] : filesOf(agent.path, agent.config),
    programs: programs(),
  };
}

/** What a definition asks of its hosts. */
export function needsOf(cluster: ClusterConfig | undefined): Needs {
  if (cluster === undefined) {
    const unknown = undefined;
    return {
      fabrics: unknown,
      mtu: unknown,
      volumes: unknown,
      filesystems: unknown,
      units: unknown,
      nftables: unknown,
    };
  }
  return {
    fabrics: [...new Set(cluster.networks.map(({ fabric }) => fabric))],
    mtu:
      cluster.networks.length === 0
        ? undefined
        : Math.max(...cluster.networks.map(({ mtu }) => mtu)),
    volumes: cluster.volumes.length > 0,
    filesystems: [
      ...new Set(
        cluster.volumes.map(({ filesystem }) => filesystem).filter((one) => one !== 'none'),
      ),
    ],
    nftables: cluster.services.some(({ dataPlane }) => dataPlane === 'nftables'),
    units: cluster.personalities.some(({ workload }) => workload.kind === 'unit'),
  };
}

function sysctls(nic: string | undefined): Readonly<Record<string, string>> {
  const names = [
    'net.ipv4.conf.all.rp_filter',
    ...(nic === undefined ? [] : [`net.ipv4.conf.${nic}.rp_filter`]),
    'net.ipv4.conf.all.arp_ignore',
    'net.ipv4.conf.all.arp_announce',
    'net.core.bpf_jit_enable',
  ];
  return Object.fromEntries(
    names.flatMap((name) => {
      // A NIC may have a dot in its name: only the first four are separators here.
      const parts = name.split('.');
      const path = name.includes('.conf.')
        ? [...parts.slice(0, 3), parts.slice(3, -1).join('.'), parts.at(-1) ?? '']
        : parts;
      const value = text(join('/proc/sys', ...path));
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

function underlay({ underlayInterface: name, underlayAddress }: AgentConfig): UnderlayFacts {
  const folder = `/sys/class/net/${name}`;
  const addresses = (networkInterfaces()[name] ?? []).map(({ address }) => address);
  const there = existsSync(folder);
  const nothing: Offloads = { txChecksum: undefined, largeReceive: undefined, vlan: undefined };
  return {
    name,
    there,
    up: (Number(text(`${folder}/flags`) ?? '0') & 1) !== 0,
    mtu: Number(text(`${folder}/mtu`) ?? '0'),
    addresses,
    wanted: underlayAddress,
    driver: driverOf(name),
    offloads: there ? offloadsOf(name) : nothing,
  };
}

/** A NIC without hardware has no driver in sysfs; a veth is known by its peer's index. */
function driverOf(name: string): string {
  const folder = `/sys/class/net/${name}`;
  try {
    return basename(readlinkSync(`${folder}/device/driver`));
  } catch {
    const [own, peer] = [text(`${folder}/ifindex`), text(`${folder}/iflink`)];
    return own !== undefined && peer !== undefined && own !== peer ? 'veth' : '';
  }
}

function sharedSubnets(): readonly string[] {
  const all = Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? [])
      .filter(({ internal, family, cidr }) => !internal && family === 'IPv4' && cidr !== null)
      .map(({ cidr, address }) => ({ name, address, subnet: parseCidr(cidr ?? '') })),
  );
  return all.flatMap((one, index) =>
    all
      .slice(index + 1)
      .filter(({ name, address }) => name !== one.name && inSubnet(one.subnet, ipBytes(address)))
      .map(({ name }) => `${one.name} and ${name} are in one subnet`),
  );
}

function clock() {
  const folder = '/sys/devices/system/clocksource/clocksource0';
  return {
    current: text(`${folder}/current_clocksource`) ?? '',
    available: (text(`${folder}/available_clocksource`) ?? '')
      .split(' ')
      .filter((one) => one !== ''),
    architecture: process.arch,
  };
}

function limits() {
  const table = text('/proc/self/limits') ?? '';
  const soft = (name: string) => {
    const value = new RegExp(`^${name} +(\\S+)`, 'm').exec(table)?.[1] ?? '0';
    return value === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(value);
  };
  return { openFiles: soft('Max open files'), lockedBytes: soft('Max locked memory') };
}

const unitFolders = ['/etc/systemd/system', '/usr/local/lib/systemd/system', '/lib/systemd/system'];

function units(): UnitFacts {
  const find = (name: string) =>
    unitFolders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  const pulse = find('understudy-pulse.service');
  return {
    systemd: existsSync('/run/systemd/system'),
    agent: find('understudy-agent.service'),
    pulse,
    pulseText: pulse === undefined ? '' : (text(pulse) ?? ''),
  };
}

function filesOf(path: string, { keyFile, remoteApi }: AgentConfig): readonly FileFacts[] {
  const own = [file('settings', path), file('key', keyFile)];
  if (remoteApi === undefined) return own;
  const { tokens, tls } = remoteApi;
  const certificate = file('certificate', tls.certificate);
  return [
    ...[...own, file('api', tokens), file('api', tls.key)],
    { ...certificate, ...daysLeft(certificate) },
  ];
}

function daysLeft({ path, there }: FileFacts): { readonly daysLeft?: number } {
  if (!there) return {};
  try {
    const { validTo } = new X509Certificate(readFileSync(path));
    return { daysLeft: Math.floor((Date.parse(validTo) - Date.now()) / 86_400_000) };
  } catch {
    return {};
  }
}

function file(kind: FileFacts['kind'], path: string): FileFacts {
  const found = statSync(path, { throwIfNoEntry: false });
  return {
    kind,
    path,
    there: found !== undefined,
    mode: (found?.mode ?? 0) & 0o777,
    uid: found?.uid ?? 0,
    sizeBytes: found?.size ?? 0,
  };
}

function programs(): ProgramFacts {
  const disk = inPath('qemu-storage-daemon');
  const libbpf = attempt(() => loadLibrary('libbpf.so.1'));
  return {
    understudy: ownVersion(),
    node: process.versions.node,
    libiscsi: attempt(() => loadLibrary('libiscsi.so.7')),
    libbpf,
    libbpfVersion: libbpf === undefined ? libbpfVersion() : '',
    disk,
    diskIscsi: moduleFolders.some((folder) => existsSync(`${folder}/block-iscsi.so`)),
    mkfs: ['ext4', 'xfs'].filter((name) => inPath(`mkfs.${name}`) !== undefined),
    nft: inPath('nft'),
  };
}

/** Where Debian and others keep the modules of QEMU. */
const moduleFolders = [
  '/usr/lib/x86_64-linux-gnu/qemu',
  '/usr/lib/aarch64-linux-gnu/qemu',
  '/usr/lib64/qemu-kvm',
  '/usr/lib64/qemu',
  '/usr/lib/qemu',
];

function inPath(program: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(':').concat('/usr/sbin', '/sbin');
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
