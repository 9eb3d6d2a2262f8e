import type { Fabric } from '../config/types.js';

/** A network as this host needs it: fabric decided, underlay known. */
export interface NetworkSpec {
  readonly name: string;
  readonly fabric: Fabric;
  readonly id: number;
  readonly mtu: number;
  /** NIC of the internal network in the host's own namespace, e.g. eth1. */
  readonly underlayInterface: string;
  /** This host's address on it, used as VXLAN source. */
  readonly underlayAddress: string;
  /** A new device is made and left down; one that is up stays so. */
  readonly quiet?: boolean;
}

export interface NicSpec {
  readonly network: string;
  readonly mac: string;
  /** CIDR each. */
  readonly addresses: readonly string[];
}

/** Epoch of what is made ready for a role that may come. The store's count from 1. */
export const preparedEpoch = 0;

/** A namespace of ours: a personality's `us-<name>`, or a service's dispatcher `us-svc-<name>`. */
export interface NamespaceSpec {
  /** 'web1' or 'svc-web': the namespace is `us-<name>`. */
  readonly name: string;
  readonly cluster: string;
  readonly epoch: number;
  readonly incarnation: number;
  /** One NIC per network, named eth0, eth1, … inside. */
  readonly nics: readonly NicSpec[];
  readonly routes: readonly { readonly to: string; readonly via: string }[];
  /**
   * Addresses held on `lo` and never answered for by ARP or ND there: a service's members hold the
   * VIP so (arp_ignore=1, arp_announce=2).
   */
  readonly loopbackAddresses: readonly string[];
  /**
   * New NICs are made, guarded and left down: nothing of them is heard until a call without this.
   * IPv6 speaks as soon as a NIC is up (RFC 3810), and a switch that learns from that would draw
   * traffic to a host whose disks are not there yet. Never takes a NIC down that is up.
   */
  readonly quiet?: boolean;
}

/** VXLAN forwarding of one network: all of it, absolute. */
export interface PeerSpec {
  readonly network: string;
  /** vMAC → underlay address of the host that holds it now; local vMACs left out. */
  readonly unicast: readonly { readonly mac: string; readonly via: string }[];
  /** Underlay addresses that get broadcast and multicast: remote hosts with members, joins, gateways. */
  readonly flood: readonly string[];
  /**
   * Underlay addresses whose frames are let in; equals `flood` except while somebody is being
   * shut out. Enforced by the peer filter (see PeerFilter) where one is given.
   */
  readonly allowed: readonly string[];
}

/** Loads and attaches the kernel-enforced lease. Called with the NIC still down. */
export interface Guard {
  /**
   * Attaches the guard of `incarnation` at ingress and egress of `interfaceName` in the network
   * namespace behind `namespacePath` (/run/netns/us-web1). Synchronous: no await while switched.
   */
  attach(namespacePath: string, interfaceName: string, incarnation: number): void;
  /** From now on nothing passes that NIC, whoever holds a lease, until `attach`. Synchronous likewise. */
  shut(namespacePath: string, interfaceName: string): void;
}

/** What passes the underlay NIC of VXLAN networks, by tc. */
export interface PeerFilter {
  /** `vni`'s allowed sources, absolute; undefined removes the VNI. */
  set(vni: number, allowed: readonly string[] | undefined): void;
  /**
   * From now on their frames leave only while this incarnation's lease holds: also those that passed
   * the guard within it and then waited for a neighbour. Idempotent.
   */
  hold(incarnation: number): void;
  /** Ends that; nothing that passed the guard may be waiting any more. Idempotent. */
  release(): void;
}

/** What of ours is there, found by tag. */
export interface ObservedNamespace {
  readonly name: string;
  readonly epoch: number;
  readonly incarnation: number;
  readonly up: boolean;
  readonly nics: readonly NicSpec[];
}

export interface AnnounceSpec {
  /** Namespace name without `us-`: 'web1', 'svc-web'. */
  readonly name: string;
  readonly nics: readonly NicSpec[];
}

export interface ProbeResult {
  readonly address: string;
  /** MAC that answered; undefined for no answer in time. */
  readonly mac: string | undefined;
}

export interface NetworkAdapter {
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Makes sure the network's device exists on this host (namespace `usn-<network>`). Idempotent. */
  ensureNetwork(spec: NetworkSpec, signal: AbortSignal): Promise<void>;
  /** Removes the network's device and namespace; refuses while a NIC of ours stands on it. */
  removeNetwork(network: string, signal: AbortSignal): Promise<void>;
  /** VXLAN: replaces forwarding entries with exactly these. No-op on other fabrics. */
  setPeers(peers: PeerSpec, signal: AbortSignal): Promise<void>;
  /**
   * Namespace, NICs (guard attached before up), addresses, routes, sysctls. Idempotent; adopts
   * what is there with the same epoch, or prepared as epoch 0 and still down; rebuilds what has an older one; changes only differences.
   */
  ensureNamespace(spec: NamespaceSpec, signal: AbortSignal): Promise<void>;
  /** Brings up what `ensureNamespace` of this very epoch left down, and sets its routes. Idempotent. */
  raise(spec: NamespaceSpec, signal: AbortSignal): Promise<void>;
  /** Nothing is heard of the NICs any more, though they are there and up. Idempotent. */
  silence(name: string, signal: AbortSignal): Promise<void>;
  /** Takes the NICs down and the namespace away. Idempotent. */
  removeNamespace(name: string, signal: AbortSignal): Promise<void>;
  /**
   * Throws away what waits on the underlay NIC for neighbours to answer, when nothing is left of an
   * incarnation: the next one's lease must not let it out.
   */
  discardWaiting(underlayInterface: string, signal: AbortSignal): Promise<void>;
  observe(signal: AbortSignal): Promise<readonly ObservedNamespace[]>;
  /** Networks whose device on this host is ours, also from before a restart. */
  observeNetworks(signal: AbortSignal): Promise<readonly string[]>;
  /**
   * Both ARP forms and unsolicited NA for every address of every NIC, from that NIC, the vMAC as
   * Ethernet source. One burst; the caller schedules the rest and the refresh.
   */
  announce(spec: AnnounceSpec, signal: AbortSignal): Promise<void>;
  /**
   * Asks for `address` from the namespace of another member (ARP or NS out of `from`'s NIC on that
   * network) and tells which MAC answered. Bounded by timeoutMs.
   */
  probe(
    from: string,
    network: string,
    address: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ProbeResult>;
}
