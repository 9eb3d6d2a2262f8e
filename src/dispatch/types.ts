import type { HashMode } from '../config/types.js';
import type { TrafficReport } from '../control/records.js';
import type { Inherited, Memory } from './memory.js';

export interface DispatchMember {
  readonly personality: string;
  readonly mac: string;
  /** 0 = draining: no new flows. Need not be whole: only what it is beside the others' counts. */
  readonly weight: number;
  readonly healthy: boolean;
  /** It runs on this host. Default false; matters to the entry on the underlay NIC only. */
  readonly here?: boolean;
}

/** All that decides where a packet goes; the same on every host that can dispatch. */
export interface DispatchSpec {
  readonly service: string;
  /** Namespace the VIP's macvlan is in: 'svc-web' (path /run/netns/us-svc-web), NIC eth0. */
  readonly namespace: string;
  readonly incarnation: number;
  readonly mac: string;
  readonly addresses: readonly string[];
  readonly ports: readonly {
    readonly protocol: 'tcp' | 'udp';
    readonly first: number;
    readonly last: number;
  }[];
  readonly hash: HashMode;
  readonly members: readonly DispatchMember[];
  /** 32 hex digits, secret, from the store: an attacker must not aim flows at one member. */
  readonly seed: string;
  /** How long flows that began before a change stay with a member that drains. Default 5 minutes. */
  readonly drainMs?: number;
  /** UDP flows stay with their member while they pause no longer than this. Default 0: they do not. */
  readonly udpStickyMs?: number;
  /** VLAN ID of its network on the underlay NIC; 0, the default, for untagged. */
  readonly vlan?: number;
  /** NIC of the host's own namespace on which packets are taken before the stack; default: none. */
  readonly xdpOn?: string;
  /** What it must go by. Default: BPF, and nftables where the kernel does not take the program. */
  readonly dataPlane?: 'bpf' | 'nftables';
  /** MACs of the cluster's other services: what their dispatchers sent is not dispatched again. */
  readonly otherDispatchers?: readonly string[];
}

export interface DispatchAdapter {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Has the kernel check the program now, so that a service that comes need not wait. Idempotent. */
  warm(incarnation: number): Promise<void>;
  /**
   * Loads, fills and attaches, or updates a running one by a generation flip. Idempotent.
   *
   * @param inherited what the dispatcher before knew; of no use where this one has begun
   */
  ensure(spec: DispatchSpec, inherited?: Inherited): Promise<void>;
  remove(service: string): Promise<void>;
  counters(service: string): Promise<TrafficReport>;
  /** Of every service that this host dispatches. */
  allCounters(): Promise<readonly TrafficReport[]>;
  /** How often what `memory` tells changes so that it is worth reading; undefined: there is nothing. */
  memoryEveryMs(): number | undefined;
  /** What the next dispatcher would need; undefined: nothing. */
  memory(): Promise<Memory | undefined>;
}

/** Answer of `which`, from the same table and hash as the data plane. */
export interface Choice {
  readonly slot: number;
  readonly member: string;
  readonly mac: string;
}
