import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterConfig, LabConfig } from '../config/types.js';
import { UnderstudyError } from '../errors.js';
import type { KernelFeatures } from './plan.js';

const programs: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  bridge: 'iproute2',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  setsid: 'util-linux',
  bash: 'bash',
  ethtool: 'ethtool',
  etcd: 'etcd-server',
  'qemu-storage-daemon': 'qemu-system-common',
};

/** What virtual machines need beside those. */
const vmPrograms: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  debootstrap: 'debootstrap',
  'mkfs.ext4': 'e2fsprogs',
};

/** What serves the LUNs, where not the kernel does. */
const tgtPrograms: Readonly<Record<string, string>> = { tgtd: 'tgt', tgtadm: 'tgt' };

/** @throws US_LAB_ROOT, US_LAB_PACKAGE, US_LAB_KERNEL: before anything is made */
export function checkRequirements({
  backend,
  target,
}: Pick<LabConfig, 'backend' | 'target'>): void {
  if (process.getuid?.() !== 0) {
    throw lacking('US_LAB_ROOT', 'only root may make namespaces and mounts', 'run it as root');
  }
  const path = (process.env.PATH ?? '').split(':').concat('/usr/sbin', '/sbin');
  const needed = {
    ...programs,
    ...(backend === 'vm' ? vmPrograms : {}),
    ...(target === 'lio' ? {} : tgtPrograms),
  };
  const missing = Object.entries(needed).filter(
    ([program]) => !path.some((folder) => existsSync(join(folder, program))),
  );
  if (missing.length > 0) {
    const packages = [...new Set(missing.map(([, name]) => name))].join(' ');
    const names = missing.map(([program]) => program).join(', ');
    throw lacking(
      'US_LAB_PACKAGE',
      `not installed: ${names}`,
      `npm run setup, or apt-get install ${packages}`,
    );
  }
  const filesystems = readFileSync('/proc/filesystems', 'utf8');
  const absent = ['overlay', 'fuse', 'bpf', 'tmpfs'].filter(
    (name) => !new RegExp(`\\t${name}$`, 'm').test(filesystems),
  );
  if (absent.length > 0) {
    const remedy = 'load the modules (modprobe overlay fuse) or use a kernel that has them';
    throw lacking('US_LAB_KERNEL', `the kernel has no ${absent.join(', ')}`, remedy);
  }
}

function lacking(code: `US_${string}`, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({ code, action: 'cannot start', object: 'a lab', cause, remedy });
}

/**
 * What this kernel can do, asked by doing it in a namespace that ends at once: a VLAN device, for
 * which the kernel loads 8021q where it has it as a module. On a veth: lo takes no VLAN.
 */
export function kernelFeatures(config: ClusterConfig): KernelFeatures {
  const asked = config.networks.some(({ fabric }) => fabric === 'auto' || fabric === 'vlan');
  if (!asked) return { vlan: false };
  const script =
    'ip link add name probe type veth peer name other && ip link add link probe name tagged type vlan id 1';
  const { status } = spawnSync('unshare', ['--net', 'sh', '-c', script], { stdio: 'ignore' });
  return { vlan: status === 0 };
}
