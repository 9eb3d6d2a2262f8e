import { closeSync, openSync } from 'node:fs';
import { inNetworkNamespace } from '../ffi/namespace.js';
import { canonicalCidr, ipBytes } from './addresses.js';
import { planForwarding } from './forwarding-plan.js';
import type { NetworkLog } from './log.js';
import type { Namespaces } from './namespaces.js';
import { listAddresses } from './netlink/ip-addresses.js';
import { addVlan, addVxlan } from './netlink/link-kinds.js';
import { changeLink, findLink, type Link, listLinks, removeLink } from './netlink/links.js';
import {
  appendForwarding,
  type ForwardingEntry,
  listForwarding,
  removeForwarding,
  replaceForwarding,
} from './netlink/neighbours.js';
import type { NetlinkTransport, RequestOptions } from './netlink/transport.js';
import {
  foreign,
  inUse,
  noAddress,
  noParent,
  parentDown,
  tooBig,
  unknownNetwork,
} from './refusals.js';
import { boundUnresolved, prepareNetworkNamespace, setIpv6 } from './sysctls.js';
import { ourGroup, parseTag, tagText } from './tag.js';
import type { NetworkSpec, PeerFilter, PeerSpec } from './types.js';

/** Name of a network's device, in the network's own namespace where nothing else is. */
const deviceName = 'carrier';
/** IANA's port for VXLAN (RFC 7348). */
const vxlanPort = 4789;

export interface CarrierOptions {
  readonly cluster: string;
  readonly peerFilter?: PeerFilter | undefined;
  readonly log: NetworkLog;
}

/** Where NICs of a network are made: a device, and the socket of the namespace it is in. */
export interface Ground {
  readonly netlink: NetlinkTransport;
  readonly index: number;
  readonly mtu: number;
}

/**
 * The networks of this host. One of fabric vlan or vxlan has a device in a namespace of its own,
 * where no address and no program is: the host itself is on none of its virtual LANs.
 */
export class Carriers {
  readonly #namespaces: Namespaces;
  readonly #cluster: string;
  readonly #peerFilter: PeerFilter | undefined;
  readonly #log: NetworkLog;
  readonly #specs = new Map<string, NetworkSpec>();

  constructor(namespaces: Namespaces, options: CarrierOptions) {
    this.#namespaces = namespaces;
    this.#cluster = options.cluster;
    this.#peerFilter = options.peerFilter;
    this.#log = options.log;
  }

  /** @param users names of what stands on the network: it is then changed in no way that cuts them off */
  async ensure(
    spec: NetworkSpec,
    users: () => Promise<readonly string[]>,
    signal: AbortSignal,
  ): Promise<void> {
    const purpose = { action: 'cannot set up network', object: describe(spec) };
    const options = { purpose, signal };
    const underlay = await this.#underlay(spec, options);
    if (spec.fabric === 'untagged') await this.remove(spec.name, users, signal);
    else await this.#ensureDevice(spec, underlay, users, options);
    this.#specs.set(spec.name, spec);
  }

  async #underlay(spec: NetworkSpec, options: RequestOptions): Promise<Link> {
    const { purpose } = options;
    const underlay = await findLink(this.#namespaces.host(), spec.underlayInterface, options);
    if (underlay === undefined) throw noParent(purpose, spec.underlayInterface);
    if (!underlay.up) throw parentDown(purpose, spec.underlayInterface);
    const needed = spec.mtu + overheadBytes(spec);
    if (underlay.mtu < needed) throw tooBig(purpose, needed, underlay.name, underlay.mtu);
    if (spec.fabric === 'vxlan') {
      await this.#checkSource(spec, options);
      this.#namespaces.insideHost(() => boundUnresolved(spec.underlayInterface));
    }
    return underlay;
  }

  /** VXLAN from an address that the host does not have goes nowhere, without a word. */
  async #checkSource(spec: NetworkSpec, options: RequestOptions): Promise<void> {
    const wanted = ipBytes(spec.underlayAddress);
    const addresses = await listAddresses(this.#namespaces.host(), options);
    if (addresses.some(({ bytes }) => wanted.equals(bytes))) return;
    throw noAddress(options.purpose, spec.underlayAddress, spec.underlayInterface);
  }

  async #ensureDevice(
    spec: NetworkSpec,
    underlay: Link,
    users: () => Promise<readonly string[]>,
    options: RequestOptions,
  ): Promise<void> {
    const { purpose } = options;
    const path = this.#namespaces.networkPath(spec.name);
    const tag = { kind: 'network', cluster: this.#cluster, network: spec.name } as const;
    if (this.#namespaces.exists(path)) await this.#refuseForeign(path, spec.name, options);
    else this.#namespaces.create(path, tag, prepareNetworkNamespace, purpose);

    const found = await this.#device(path, spec.name, options);
    if (found !== undefined && found.alias !== '' && fits(found, spec, underlay)) {
      const change = {
        ...(found.mtu === spec.mtu ? {} : { mtu: spec.mtu }),
        ...upUnlessQuiet(spec),
      };
      await changeLink(this.#namespaces.at(path), found.index, change, options);
      return;
    }
    if (found !== undefined) {
      const standing = await users();
      if (standing.length > 0)
        throw inUse({ ...purpose, action: 'cannot change network' }, standing);
      await removeLink(this.#namespaces.at(path), found.index, options);
      // Another's network may have that VNI from now on, here too.
      const kept = spec.fabric === 'vxlan' && spec.id === found.vxlan?.vni;
      if (found.vxlan !== undefined && !kept) this.#peerFilter?.set(found.vxlan.vni, undefined);
    }
    await this.#make(path, spec, underlay, tagText(tag), options);
  }

  /** Down until it is complete, and closed to everybody until its peers are set. */
  async #make(
    path: string,
    spec: NetworkSpec,
    underlay: Link,
    alias: string,
    options: RequestOptions,
  ): Promise<void> {
    const host = this.#namespaces.host();
    const namespaceFd = openSync(path, 'r');
    try {
      const base = { name: deviceName, namespaceFd, mtu: spec.mtu, group: ourGroup };
      if (spec.fabric === 'vlan') {
        const kind = { parentIndex: underlay.index, vlanId: spec.id };
        await addVlan(host, { ...base, ...kind }, options);
      } else {
        const kind = { vni: spec.id, local: spec.underlayAddress, port: vxlanPort };
        await addVxlan(host, { ...base, ...kind, underlayIndex: underlay.index }, options);
      }
    } finally {
      closeSync(namespaceFd);
    }
    const netlink = this.#namespaces.at(path);
    const made = await findLink(netlink, deviceName, options);
    if (made === undefined) throw noParent(options.purpose, deviceName);
    inNetworkNamespace(path, () => setIpv6(deviceName, false));
    if (spec.fabric === 'vxlan') this.#peerFilter?.set(spec.id, []);
    await changeLink(netlink, made.index, { alias, ...upUnlessQuiet(spec) }, options);
    this.#log.info({ network: describe(spec) }, 'network set up');
  }

  /** The network's device: by its tag, or by its group where a crash came before the tag. */
  async #device(path: string, network: string, options: RequestOptions): Promise<Link | undefined> {
    const links = await listLinks(this.#namespaces.at(path), options);
    const found = links.find(({ name }) => name === deviceName);
    if (found === undefined || (found.alias === '' && found.group === ourGroup)) return found;
    const tag = parseTag(found.alias);
    const ours =
      tag?.kind === 'network' && tag.cluster === this.#cluster && tag.network === network;
    if (!ours) throw foreign(options.purpose, `device ${deviceName} in ${path}`);
    return found;
  }

  async #refuseForeign(path: string, network: string, options: RequestOptions): Promise<void> {
    const tag = await this.#namespaces.tagOf(path, options);
    const ours =
      tag?.kind === 'network' && tag.cluster === this.#cluster && tag.network === network;
    if (!ours) throw foreign(options.purpose, `namespace ${path}`);
  }

  async remove(
    network: string,
    users: () => Promise<readonly string[]>,
    signal: AbortSignal,
  ): Promise<void> {
    const purpose = { action: 'cannot remove network', object: network };
    const options = { purpose, signal };
    const path = this.#namespaces.networkPath(network);
    if (this.#namespaces.exists(path)) {
      await this.#refuseForeign(path, network, options);
      const standing = await users();
      if (standing.length > 0) throw inUse(purpose, standing);
      const device = await this.#device(path, network, options);
      if (device !== undefined) {
        await removeLink(this.#namespaces.at(path), device.index, options);
        if (device.vxlan !== undefined) this.#peerFilter?.set(device.vxlan.vni, undefined);
      }
      this.#namespaces.remove(path, purpose);
      this.#log.info({ network }, 'network removed');
    }
    this.#specs.delete(network);
  }

  /** Whether the network's frames leave in packets of the host's own. */
  isOverlay(network: string): boolean {
    return this.#specs.get(network)?.fabric === 'vxlan';
  }

  /** What NICs of the network are made on. */
  async ground(network: string, options: RequestOptions): Promise<Ground> {
    const spec = this.#specs.get(network);
    if (spec === undefined) throw unknownNetwork(options.purpose, network);
    const untagged = spec.fabric === 'untagged';
    const path = this.#namespaces.networkPath(network);
    if (!untagged && !this.#namespaces.exists(path)) throw unknownNetwork(options.purpose, network);
    const netlink = untagged ? this.#namespaces.host() : this.#namespaces.at(path);
    const name = untagged ? spec.underlayInterface : deviceName;
    const link = await findLink(netlink, name, options);
    if (link === undefined) throw noParent(options.purpose, name);
    return { netlink, index: link.index, mtu: spec.mtu };
  }

  async setPeers(peers: PeerSpec, signal: AbortSignal): Promise<void> {
    const purpose = { action: 'cannot set peers of network', object: peers.network };
    const options = { purpose, signal };
    const spec = this.#specs.get(peers.network);
    if (spec === undefined) throw unknownNetwork(purpose, peers.network);
    if (spec.fabric !== 'vxlan') return;
    const { netlink, index } = await this.ground(peers.network, options);
    // What comes from a host that was shut out stops first.
    this.#peerFilter?.set(spec.id, peers.allowed);
    const current = await listForwarding(netlink, index, options);
    const plan = planForwarding(current, peers.unicast, peers.flood);
    const entry = (to: Omit<ForwardingEntry, 'linkIndex'>) => ({ ...to, linkIndex: index });
    // Sent in this order and carried out in it: one socket, one kernel.
    await Promise.all([
      ...plan.remove.map((to) => removeForwarding(netlink, entry(to), options)),
      ...plan.replace.map((to) => replaceForwarding(netlink, entry(to), options)),
      ...plan.append.map((to) => appendForwarding(netlink, entry(to), options)),
    ]);
  }
}

function upUnlessQuiet({ quiet }: NetworkSpec): { readonly up?: true } {
  return quiet === true ? {} : { up: true };
}

function describe(spec: NetworkSpec): string {
  const id = spec.fabric === 'untagged' ? '' : ` ${spec.id}`;
  return `${spec.name} (${spec.fabric}${id} on ${spec.underlayInterface})`;
}

/** What the fabric adds to a frame; a VLAN tag is not counted in an MTU (IEEE 802.3ac). */
function overheadBytes(spec: NetworkSpec): number {
  if (spec.fabric !== 'vxlan') return 0;
  // Outer IP, UDP, VXLAN and inner Ethernet headers (RFC 7348 section 5).
  const outerIp = ipBytes(spec.underlayAddress).length === 4 ? 20 : 40;
  return outerIp + 8 + 8 + 14;
}

function fits(link: Link, spec: NetworkSpec, underlay: Link): boolean {
  if (spec.fabric === 'vlan') {
    return link.vlanId === spec.id && link.parentIndex === underlay.index;
  }
  const { vxlan } = link;
  return (
    vxlan !== undefined &&
    vxlan.vni === spec.id &&
    vxlan.port === vxlanPort &&
    !vxlan.learning &&
    vxlan.underlayIndex === underlay.index &&
    canonicalCidr(vxlan.local) === canonicalCidr(spec.underlayAddress)
  );
}
