import type { HashMode } from '../config/types.js';

export interface DispatchMember {
  readonly personality: string;
  readonly mac: string;
  /** 0 = draining: no new flows. */
  readonly weight: number;
  readonly healthy: boolean;
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
}

export interface DispatchCounters {
  readonly service: string;
  readonly forwarded: readonly {
    readonly personality: string;
    readonly packets: number;
    readonly bytes: number;
  }[];
  readonly passed: number;
  readonly dropped: Readonly<Record<string, number>>;
}

export interface DispatchAdapter {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Loads, fills and attaches, or updates a running one by a generation flip. Idempotent. */
  ensure(spec: DispatchSpec): Promise<void>;
  remove(service: string): Promise<void>;
  counters(service: string): Promise<DispatchCounters>;
}

/** Answer of `which`, from the same table and hash as the data plane. */
export interface Choice {
  readonly slot: number;
  readonly member: string;
  readonly mac: string;
}
