import type { HostFacts, KernelFacts, Trouble } from './facts.js';
import { type Check, type Finding, notApplicable, ok, problem, warning } from './types.js';

/** What the kernel must be able to do. */
export const kernelChecks: readonly Check<HostFacts>[] = [
  {
    id: 'root',
    title: 'privileges',
    judge: ({ root }) =>
      root
        ? ok('runs as root')
        : warning('not run as root: what needs it could not be tried', 'run doctor as root'),
  },
  {
    id: 'kernel-vxlan',
    title: 'VXLAN devices',
    judge: ({ kernel, needs }) =>
      fabric('vxlan', kernel.vxlan, needs.fabrics, 'modprobe vxlan, or a kernel with CONFIG_VXLAN'),
  },
  {
    id: 'kernel-8021q',
    title: '802.1Q devices',
    judge: ({ kernel, needs }) =>
      fabric(
        'vlan',
        kernel.vlan,
        needs.fabrics,
        'modprobe 8021q, or a kernel with CONFIG_VLAN_8021Q; or fabric: vxlan for its networks',
      ),
  },
  {
    id: 'kernel-macvlan',
    title: 'macvlan NICs',
    judge: ({ kernel }) =>
      works(
        'a macvlan was made and removed',
        kernel.macvlan,
        'modprobe macvlan: without it no NIC',
      ),
  },
  {
    id: 'kernel-bpf-tc',
    title: 'BPF on tc',
    judge: ({ kernel }) =>
      works(
        'the kernel took a classifier program',
        kernel.tc,
        'a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_ACT: the lease is enforced by it',
      ),
  },
  {
    id: 'kernel-bpf-xdp',
    title: 'BPF on XDP',
    judge: ({ kernel }) =>
      kernel.xdp === undefined
        ? ok('the kernel took an XDP program')
        : warning(`XDP: ${kernel.xdp}`, 'nothing now: the dispatcher runs on tc'),
  },
  {
    id: 'kernel-bpffs',
    title: 'BPF file system',
    judge: ({ kernel: { bpffs }, host }) =>
      bpffs.mounted
        ? ok(`bpffs at ${bpffs.path}`)
        : host === ''
          ? notApplicable(`no bpffs at ${bpffs.path}; no agent is configured here`)
          : warning(
              `no bpffs at ${bpffs.path}`,
              `mount -t bpf bpf ${bpffs.path}; the agent does it too where it may`,
            ),
  },
  {
    id: 'kernel-fuse',
    title: 'FUSE',
    judge: ({ kernel, needs }) =>
      forVolumes(
        needs.volumes,
        'FUSE works',
        kernel.fuse,
        'modprobe fuse: disks are exported by it',
      ),
  },
  {
    id: 'kernel-loop',
    title: 'loop devices',
    judge: ({ kernel, needs }) =>
      forVolumes(needs.volumes, 'loop devices work', kernel.loop, 'modprobe loop'),
  },
  {
    id: 'kernel-iscsi',
    title: 'iSCSI initiator of the kernel',
    judge: ({ kernel }) => initiator(kernel),
  },
  {
    id: 'kernel-multipath',
    title: 'multipath',
    judge: ({ kernel }) => multipath(kernel),
  },
  {
    id: 'kernel-watchdog',
    title: 'watchdog device',
    judge: ({ kernel }) =>
      kernel.watchdog
        ? ok('a watchdog device is there')
        : warning(
            'no /dev/watchdog: a host that hangs goes silent by its lease, but does not come back by itself',
            'modprobe softdog, or switch on the one of the hardware, and RuntimeWatchdogSec= in systemd-system.conf(5)',
          ),
  },
];

function multipath({ modules, multipathd, initiator: { wanted } }: KernelFacts): Finding {
  if (multipathd !== undefined && wanted !== 'user')
    return warning(
      `multipathd runs with ${multipathd}: it may claim disks of volumes`,
      'find_multipaths strict in multipath.conf(5), as Debian has it, or blacklist them there',
    );
  return modules.dm_multipath
    ? ok('dm-multipath is there, for volumes with several portals')
    : notApplicable('no dm-multipath: a volume with several portals uses one');
}

function initiator({ initiator: { wanted, missing } }: KernelFacts): Finding {
  if (missing === undefined) {
    return ok(wanted === 'user' ? 'it is there; storageBackend is user' : 'it is there');
  }
  if (wanted !== 'kernel') return notApplicable(`${missing}; backend user does without it`);
  return problem(
    `${missing}, and storageBackend is kernel`,
    'apt-get install open-iscsi; systemctl enable --now iscsid.socket; or storageBackend: user',
  );
}

function works(saw: string, trouble: Trouble, remedy: string): Finding {
  return trouble === undefined ? ok(saw) : problem(trouble, remedy);
}

function fabric(
  name: string,
  trouble: Trouble,
  fabrics: readonly string[] | undefined,
  remedy: string,
): Finding {
  if (trouble === undefined) return ok(`a ${name} device was made and removed`);
  if (fabrics === undefined)
    return warning(`${trouble}; needed where a network's fabric is ${name}`, remedy);
  return fabrics.includes(name)
    ? problem(`${trouble}, and networks of fabric ${name} are defined`, remedy)
    : notApplicable(`${trouble}; no network is of fabric ${name}`);
}

function forVolumes(
  needed: boolean | undefined,
  saw: string,
  trouble: Trouble,
  remedy: string,
): Finding {
  if (trouble === undefined) return ok(saw);
  if (needed === false) return notApplicable(`${trouble}; no volume is defined`);
  return needed === undefined
    ? warning(`${trouble}; needed for volumes`, remedy)
    : problem(trouble, remedy);
}
