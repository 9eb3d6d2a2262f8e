/**
 * The cluster file after parsing: every default filled in, every unit resolved, every reference
 * known to exist. The rest of the code sees only this, never YAML. It is also what the store holds.
 */
export interface ClusterConfig {
  readonly cluster: string;
  /** Names of the hosts that grant leases and vote: 1, 3 or 5. */
  readonly controllers: readonly string[];
  readonly timing: Timing;
  readonly fencing: FencingConfig;
  readonly store: StoreConfig;
  readonly hosts: readonly HostConfig[];
  readonly networks: readonly NetworkConfig[];
  readonly volumes: readonly VolumeConfig[];
  readonly personalities: readonly PersonalityConfig[];
  readonly services: readonly ServiceConfig[];
}

export interface Timing {
  /** Default 50. */
  readonly heartbeatMs: number;
  /** Default 200; at least 3 heartbeats. */
  readonly leaseMs: number;
  /** Bound on the ratio of two clock rates, in percent. Default 1. */
  readonly clockMarginPercent: number;
  /** Announcements are repeated this often, more often than switches age. Default 60 000. */
  readonly announceRefreshMs: number;
}

export interface FencingConfig {
  /**
   * Whether each host's kernel enforces its lease. Default: with 3 or 5 controllers yes; with one no,
   * since its loss would silence every host. It holds for incarnations enrolled after it was applied.
   */
  readonly enforce: boolean;
}

/** How a host is switched off from outside; where its lease is not enforced. */
export interface PowerConfig {
  /** A fence agent's name (looked for in PATH) or path. */
  readonly agent: string;
  /** Handed to it on standard input (fence-agents(7)). */
  readonly options: Readonly<Record<string, string>>;
  /** On each controller, mode 0600; null for none. */
  readonly passwordFile: string | null;
  readonly action: 'off' | 'reboot';
  /** For all calls of the agent together. Default 20 000. */
  readonly timeoutMs: number;
}

export interface StoreConfig {
  /** `http://host:port` of etcd members; empty where something else (a lab) fills them in. */
  readonly endpoints: readonly string[];
}

export interface HostConfig {
  readonly name: string;
  /** Underlay address of the internal network; '' until a lab fills it in. */
  readonly address: string;
  /** NIC of the internal network, e.g. eth1. Default eth1. */
  readonly interface: string;
  /** Pool the host belongs to; null for `pool: none` (hosts nothing). Default 'default'. */
  readonly pool: string | null;
  /** Networks whose forwarding entries this host keeps although nothing is placed on it. */
  readonly joins: readonly string[];
  /** Personalities that it carries at most; null for no bound. */
  readonly capacity: number | null;
  readonly power: PowerConfig | null;
}

export type Fabric = 'untagged' | 'vlan' | 'vxlan';

export interface NetworkConfig {
  readonly name: string;
  /** `auto` is resolved when applied: vlan where every host's kernel has 8021q, else vxlan. */
  readonly fabric: Fabric | 'auto';
  /** VLAN ID (1..4094) or VNI (1..16777215); 0 for untagged. */
  readonly id: number;
  /** One or two CIDR prefixes (v4, v6), canonical. */
  readonly subnets: readonly string[];
  /** Default 1500 (the underlay must carry 50 bytes more under vxlan). */
  readonly mtu: number;
  /** vxlan only: underlay addresses of learning VTEPs (plain switches or bridges) on this network. */
  readonly gateways: readonly string[];
}

export interface VolumeConfig {
  readonly name: string;
  /** `address:port`, v6 in brackets; empty where a lab fills it in. */
  readonly portals: readonly string[];
  readonly target: string;
  readonly lun: number;
  readonly filesystem: 'ext4' | 'xfs' | 'none';
  readonly format: 'never' | 'if-blank';
  /** Default read-write. */
  readonly access?: 'read-write' | 'read-only' | undefined;
  readonly chap?: ChapConfig | undefined;
  /** What keeps a failed owner out: the target's mask, or a persistent reservation. Default mask. */
  readonly fence?: 'mask' | 'reservation' | undefined;
}

/** The secrets are in files of each host, mode 0600: neither the cluster file nor the store has them. */
export interface ChapConfig {
  readonly user: string;
  readonly secretFile: string;
  /** The target has to prove itself, too. */
  readonly mutual?: { readonly user: string; readonly secretFile: string } | undefined;
}

export interface NicConfig {
  readonly network: string;
  /** CIDR: address with the prefix length of its subnet; one or two (v4, v6). */
  readonly addresses: readonly string[];
  /** Given or '' (then allocated once and recorded). Lower case, colons. */
  readonly mac: string;
}

export interface RouteConfig {
  /** CIDR or 'default' made canonical: 0.0.0.0/0 or ::/0. */
  readonly to: string;
  readonly via: string;
}

export interface StorageMapEntry {
  /** Virtual LUN number the personality sees. */
  readonly lun: number;
  readonly volume: string;
  /** Path at which the workload sees it. */
  readonly mount: string;
}

export type WorkloadConfig =
  | { readonly kind: 'none' }
  | { readonly kind: 'command'; readonly command: readonly string[] }
  | { readonly kind: 'unit'; readonly unit: string };

export interface PersonalityConfig {
  readonly name: string;
  readonly networks: readonly NicConfig[];
  readonly routes: readonly RouteConfig[];
  readonly storage: readonly StorageMapEntry[];
  readonly workload: WorkloadConfig;
  /** Ends of its workload in a row after which it tries another host. Absent: it stays. */
  readonly moveAfterFailures?: number;
  /** Default 'default'. */
  readonly pool: string;
  /** Higher is placed first. Default 100. */
  readonly priority: number;
}

export type HashMode = 'source-ip' | 'source-ip-port' | '5-tuple';

/** How a member is asked whether it is well: by a connection, by a GET of `path`, or by a program. */
export type HealthConfig =
  | { readonly tcp: number; readonly everyMs: number }
  | { readonly http: number; readonly path: string; readonly everyMs: number }
  | {
      readonly script: readonly string[];
      readonly everyMs: number;
      /** Whom it runs as. Absent: nobody. */
      readonly user?: string;
    };

export interface ServiceConfig {
  readonly name: string;
  /** The service in the file that this is one of several dispatchers of; they are all at work. */
  readonly group?: string;
  readonly network: string;
  /** Shared addresses without prefix length: one or two (v4, v6). */
  readonly addresses: readonly string[];
  /** Where routers send what is for the shared addresses: its NIC has these instead. One in each family. */
  readonly nextHops?: readonly string[];
  /** vMAC of the VIP; '' until allocated. */
  readonly mac: string;
  readonly ports: readonly {
    readonly protocol: 'tcp' | 'udp';
    readonly first: number;
    readonly last: number;
  }[];
  readonly members: readonly { readonly personality: string; readonly weight: number }[];
  readonly hash: HashMode;
  /** One member has all flows: the first, in this order, that is up. Absent: they share them by hash. */
  readonly balance?: 'none';
  /** How long connections stay with a member that drains. */
  readonly drainMs: number;
  /** UDP flows stay while they pause no longer than this; 0: they do not. */
  readonly udpStickyMs: number;
  /** A member that comes back has its whole weight so long after that. Absent: at once. */
  readonly slowStartMs?: number;
  /** Its packets are taken on the underlay NIC, before the stack, where that is possible. Default false. */
  readonly xdp: boolean;
  /** What packets go by. Absent: BPF, and nftables on a host whose kernel does not take the program. */
  readonly dataPlane?: 'bpf' | 'nftables';
  readonly health: HealthConfig | null;
  /** Pool whose hosts may dispatch. Default 'default'. */
  readonly pool: string;
}

/** The `lab:` section, only in a lab's file. */
export interface LabConfig {
  readonly backend: 'netns' | 'vm';
  /** What serves its LUNs: tgtd, or LIO of the kernel that the lab runs on. Default tgt. */
  readonly target?: 'tgt' | 'lio' | undefined;
  readonly clients: readonly LabClient[];
  readonly storage: readonly LabTarget[];
}

export interface LabClient {
  readonly name: string;
  readonly network: string;
  readonly addresses: readonly string[];
}

export interface LabTarget {
  readonly target: string;
  readonly luns: readonly { readonly lun: number; readonly sizeBytes: number }[];
}
