import type { Status } from '../control/status.js';
import type { View } from '../control/view.js';

/** What is known of this host. Gathered by gather-host.ts; judged without it. */
export interface HostFacts {
  /** Its name in the cluster; '' where no agent configuration says it. */
  readonly host: string;
  readonly root: boolean;
  readonly needs: Needs;
  readonly kernel: KernelFacts;
  /** `net.ipv4.conf.all.rp_filter` → its value; absent ones are left out. */
  readonly sysctls: Readonly<Record<string, string>>;
  readonly network: NetworkFacts;
  readonly clock: ClockFacts;
  readonly limits: { readonly openFiles: number; readonly lockedBytes: number };
  readonly units: UnitFacts;
  readonly files: readonly FileFacts[];
  readonly programs: ProgramFacts;
  /** CHAP secrets of volumes that may come here; undefined where no definition is known. */
  readonly secrets: readonly SecretFacts[] | undefined;
  /** Health checks of members that may come here; undefined where no definition is known. */
  readonly scripts: readonly ScriptFacts[] | undefined;
  /** Dispatchers and members of services that are here; undefined where no definition is known. */
  readonly paths: PathFacts | undefined;
}

export interface PathFacts {
  readonly dispatched: readonly DispatchedFacts[];
  readonly members: readonly MemberPathFacts[];
  /** Why some could not be looked at. */
  readonly troubles: readonly string[];
}

/** A service whose dispatcher's namespace is here. */
export interface DispatchedFacts {
  readonly service: string;
  /** Of its addresses, those that its NIC does not have, or that is down. */
  readonly missing: readonly string[];
  /** The lease's guard is there, in and out. */
  readonly guarded: boolean;
  readonly by: 'bpf' | 'nftables' | undefined;
}

/** A member of a service whose namespace is here. */
export interface MemberPathFacts {
  readonly service: string;
  readonly personality: string;
  /** Of the service's addresses, those that its lo does not have. */
  readonly missing: readonly string[];
  readonly answersArp: boolean;
  /** Whether anything listens on a port of the service, at its address; undefined: it has ranges alone. */
  readonly heard: boolean | undefined;
  /** Ports on which something listens, though not at the service's address. */
  readonly elsewhere: readonly string[];
}

export interface ScriptFacts {
  readonly service: string;
  readonly program: string;
  readonly trouble: Trouble;
}

export interface SecretFacts {
  readonly volume: string;
  readonly trouble: Trouble;
}

/** What the cluster's definition asks of a host; undefined where none is known. */
export interface Needs {
  readonly fabrics: readonly string[] | undefined;
  readonly mtu: number | undefined;
  readonly volumes: boolean | undefined;
  readonly filesystems: readonly string[] | undefined;
  readonly units: boolean | undefined;
  readonly nftables: boolean | undefined;
}

/** Of each: undefined when it works, else why it does not. */
export type Trouble = string | undefined;

export interface KernelFacts {
  readonly release: string;
  readonly vxlan: Trouble;
  readonly vlan: Trouble;
  readonly macvlan: Trouble;
  readonly tc: Trouble;
  readonly xdp: Trouble;
  readonly fuse: Trouble;
  readonly loop: Trouble;
  readonly bpffs: { readonly path: string; readonly mounted: boolean };
  /** Modules that are there or can be loaded. */
  readonly modules: { readonly iscsi_tcp: boolean; readonly dm_multipath: boolean };
  /** How multipathd, where it runs, may claim disks of ours. */
  readonly multipathd: string | undefined;
  /** The kernel's own iSCSI initiator: which backend is configured, and what that one lacks here. */
  readonly initiator: { readonly wanted: 'user' | 'kernel' | 'auto'; readonly missing: Trouble };
  /** A device that reboots a host whose system hangs. */
  readonly watchdog: boolean;
}

export interface NetworkFacts {
  /** NIC of the internal network; undefined where no configuration names it. */
  readonly underlay: UnderlayFacts | undefined;
  /** Pairs of NICs with addresses in one subnet. */
  readonly sharedSubnets: readonly string[];
}

export interface UnderlayFacts {
  readonly name: string;
  readonly there: boolean;
  readonly up: boolean;
  readonly mtu: number;
  readonly addresses: readonly string[];
  /** The address that the agent's configuration says it has. */
  readonly wanted: string;
  /** Kernel driver: `virtio_net`, `veth`, …; '' where it cannot be told. */
  readonly driver: string;
  /** Undefined where the driver does not say. */
  readonly offloads: {
    readonly txChecksum: boolean | undefined;
    readonly largeReceive: boolean | undefined;
    readonly vlan: boolean | undefined;
  };
}

export interface ClockFacts {
  readonly current: string;
  readonly available: readonly string[];
  readonly architecture: string;
}

export interface UnitFacts {
  /** Whether systemd runs this host. */
  readonly systemd: boolean;
  readonly agent: string | undefined;
  readonly pulse: string | undefined;
  /** Text of pulse's unit with its drop-ins. */
  readonly pulseText: string;
}

export interface FileFacts {
  /** `api`: what only root may read of the API for callers elsewhere. */
  readonly kind: 'key' | 'settings' | 'api' | 'certificate';
  readonly path: string;
  readonly there: boolean;
  readonly mode: number;
  readonly uid: number;
  readonly sizeBytes: number;
  /** Of a certificate that can be read: days until it ends, less than 0 after that. */
  readonly daysLeft?: number;
}

export interface ProgramFacts {
  readonly understudy: string;
  readonly node: string;
  readonly libiscsi: Trouble;
  readonly libbpf: Trouble;
  readonly libbpfVersion: string;
  /** Where it is; undefined for nowhere. */
  readonly disk: string | undefined;
  readonly diskIscsi: boolean;
  readonly mkfs: readonly string[];
  /** Where it is; undefined for nowhere. */
  readonly nft: string | undefined;
}

/** What is known of the cluster. */
export interface ClusterFacts {
  readonly cluster: string;
  /** Why the store gave no answer; undefined when it did. */
  readonly storeTrouble: Trouble;
  readonly members: readonly MemberFacts[];
  readonly transactionsMs: readonly number[];
  readonly leader: string | undefined;
  readonly view: View | undefined;
  readonly status: Status | undefined;
  readonly daemons: readonly DaemonFacts[];
  readonly portals: readonly PortalFacts[];
  /** Version of this program. */
  readonly version: string;
}

/** One etcd member. */
export interface MemberFacts {
  readonly endpoint: string;
  readonly trouble: Trouble;
  readonly version: string;
  readonly tookMs: number;
  readonly leader: string;
  readonly databaseBytes: number;
  readonly alarms: readonly string[];
}

/** Pulse and agent of a host that can be asked from here: this one, and in a lab every one. */
export interface DaemonFacts {
  readonly host: string;
  readonly pulse: PulseFacts | { readonly trouble: string };
  /** Whether a process of the agent runs there. */
  readonly agent: boolean;
}

export interface PulseFacts {
  readonly trouble: undefined;
  /** The least time that its lease had left, looked at often; 0 or less: none. */
  readonly leastLeftMs: number;
  readonly realTime: boolean;
}

export interface PortalFacts {
  readonly portal: string;
  readonly from: string;
  readonly answers: boolean;
}
