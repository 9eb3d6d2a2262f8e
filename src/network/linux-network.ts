import { endianness } from 'node:os';
import { UnderstudyError } from '../errors.js';
import { cidrText, isLinkLocal } from './addresses.js';
import { announce } from './announce.js';
import { Carriers } from './carriers.js';
import type { NetworkLog } from './log.js';
import { type NamespaceOptions, Namespaces } from './namespaces.js';
import { type AddressState, listAddresses } from './netlink/ip-addresses.js';
import { findLink, type Link, listLinks } from './netlink/links.js';
import { listUnresolved, removeNeighbour } from './netlink/neighbours.js';
import type { NetlinkTransport, RequestOptions } from './netlink/transport.js';
import { isOurs } from './nic.js';
import { probe } from './probe.js';
import { badName, foreign } from './refusals.js';
import { ensureRoleNamespace, raiseNics, removeLinks, silenceNics } from './role-namespace.js';
import { fitsTag, parseTag, type RoleTag, tagText } from './tag.js';
import { Turns } from './turns.js';
import type {
  AnnounceSpec,
  Guard,
  NamespaceSpec,
  NetworkAdapter,
  NetworkSpec,
  ObservedNamespace,
  PeerFilter,
  PeerSpec,
  ProbeResult,
} from './types.js';

export interface LinuxNetworkOptions extends NamespaceOptions {
  readonly cluster: string;
  readonly guard: Guard;
  readonly peerFilter?: PeerFilter | undefined;
  readonly log: NetworkLog;
}

/** What is in a role's namespace. */
interface OwnNics {
  readonly netlink: NetlinkTransport;
  readonly nics: readonly Link[];
}

/**
 * Virtual LANs and personalities' NICs in the Linux kernel: rtnetlink on sockets of our own, network
 * namespaces, packet sockets. Everything it makes carries a tag (tag.ts) and outlives this process;
 * a new instance adopts what it finds.
 */
export class LinuxNetwork implements NetworkAdapter {
  readonly #options: LinuxNetworkOptions;
  readonly #namespaces: Namespaces;
  readonly #carriers: Carriers;
  readonly #turns = new Turns();
  /** Networks that namespaces being built right now stand on. */
  readonly #building = new Map<object, NamespaceSpec>();

  constructor(options: LinuxNetworkOptions) {
    this.#options = options;
    this.#namespaces = new Namespaces(options);
    this.#carriers = new Carriers(this.#namespaces, options);
  }

  async start(signal: AbortSignal): Promise<void> {
    const purpose = { action: 'cannot start', object: 'network' };
    if (endianness() !== 'LE') {
      throw new UnderstudyError({
        code: 'US_NET_UNSUPPORTED',
        ...purpose,
        cause: 'this is a big-endian machine',
        remedy: 'use x86-64 or arm64',
      });
    }
    await listLinks(this.#namespaces.host(), { purpose, signal });
  }

  async stop(): Promise<void> {
    this.#namespaces.close();
  }

  async ensureNetwork(spec: NetworkSpec, signal: AbortSignal): Promise<void> {
    this.#checkNames('cannot set up network', spec.name);
    await this.#turns.take(`network ${spec.name}`, () =>
      this.#carriers.ensure(spec, () => this.#usersOf(spec.name, signal), signal),
    );
  }

  async removeNetwork(network: string, signal: AbortSignal): Promise<void> {
    this.#checkNames('cannot remove network', network);
    await this.#turns.take(`network ${network}`, () =>
      this.#carriers.remove(network, () => this.#usersOf(network, signal), signal),
    );
  }

  async setPeers(peers: PeerSpec, signal: AbortSignal): Promise<void> {
    await this.#turns.take(`network ${peers.network}`, () =>
      this.#carriers.setPeers(peers, signal),
    );
  }

  async ensureNamespace(spec: NamespaceSpec, signal: AbortSignal): Promise<void> {
    const networks = spec.nics.map(({ network }) => network);
    this.#checkNames('cannot set up namespace', spec.name, networks);
    const { cluster, guard, log } = this.#options;
    if (spec.cluster !== cluster) throw new Error(`${spec.cluster} is not cluster ${cluster}`);
    const parts = { namespaces: this.#namespaces, carriers: this.#carriers, guard, cluster, log };
    await this.#turns.take(`role ${spec.name}`, async () => {
      this.#building.set(spec, spec);
      try {
        this.#holdDepartures(spec);
        await ensureRoleNamespace(parts, spec, signal);
      } finally {
        this.#building.delete(spec);
      }
    });
  }

  async raise(spec: NamespaceSpec, signal: AbortSignal): Promise<void> {
    const options = {
      purpose: { action: 'cannot bring up NICs', object: `of ${spec.name}` },
      signal,
    };
    const path = this.#namespaces.rolePath(spec.name);
    const { guard } = this.#options;
    await this.#turns.take(`role ${spec.name}`, () => {
      this.#holdDepartures(spec);
      return raiseNics({ path, netlink: this.#namespaces.at(path), guard }, spec, options);
    });
  }

  /** Like the guard: before a NIC of this incarnation goes up, and looked at again each time. */
  #holdDepartures({ nics, incarnation }: NamespaceSpec): void {
    if (nics.some(({ network }) => this.#carriers.isOverlay(network))) {
      this.#options.peerFilter?.hold(incarnation);
    }
  }

  async discardWaiting(underlayInterface: string, signal: AbortSignal): Promise<void> {
    const purpose = { action: 'cannot discard what waits on', object: underlayInterface };
    const options = { purpose, signal };
    const host = this.#namespaces.host();
    const underlay = await findLink(host, underlayInterface, options);
    if (underlay === undefined) return;
    const waiting = await listUnresolved(host, underlay.index, options);
    // With the entry goes its queue (neigh_invalidate, net/core/neighbour.c).
    await Promise.all(waiting.map((neighbour) => removeNeighbour(host, neighbour, options)));
    this.#options.peerFilter?.release();
  }

  async removeNamespace(name: string, signal: AbortSignal): Promise<void> {
    this.#checkNames('cannot remove namespace', name);
    await this.#turns.take(`role ${name}`, () => this.#removeNamespace(name, signal));
  }

  async silence(name: string, signal: AbortSignal): Promise<void> {
    this.#checkNames('cannot silence namespace', name);
    await this.#turns.take(`role ${name}`, async () => {
      const options = {
        purpose: { action: 'cannot silence namespace', object: `of ${name}` },
        signal,
      };
      const found = await this.#nicsOf(name, options);
      if (found !== undefined) await this.#shut(name, found, options);
    });
  }

  /**
   * Taking a macvlan down would wait for every processor, 10 ms and more, with the lock that all changes of
   * networks need (synchronize_rcu in macvlan_stop, drivers/net/macvlan.c).
   */
  async #shut(name: string, { netlink, nics }: OwnNics, options: RequestOptions): Promise<void> {
    const { guard, log } = this.#options;
    const path = this.#namespaces.rolePath(name);
    try {
      for (const nic of nics) guard.shut(path, nic.name);
    } catch (thrown) {
      log.warn({ name, error: thrown }, 'NICs cannot be shut; taking them down instead');
      await silenceNics(netlink, nics, options);
    }
  }

  async #removeNamespace(name: string, signal: AbortSignal): Promise<void> {
    const purpose = { action: 'cannot remove namespace', object: `of ${name}` };
    const options = { purpose, signal };
    const found = await this.#nicsOf(name, options);
    if (found === undefined) return;
    // At once, so that removing, which takes the kernel milliseconds each, may take its time.
    await this.#shut(name, found, options);
    await removeLinks(found.netlink, found.nics, options);
    this.#namespaces.remove(this.#namespaces.rolePath(name), purpose);
    this.#options.log.info({ name, nics: found.nics.length }, 'namespace removed');
  }

  /** Undefined when there is no such namespace. */
  async #nicsOf(name: string, options: RequestOptions): Promise<OwnNics | undefined> {
    const path = this.#namespaces.rolePath(name);
    if (!this.#namespaces.exists(path)) return undefined;
    const tag = await this.#namespaces.tagOf(path, options);
    const ours = tag?.kind === 'role' && tag.cluster === this.#options.cluster && tag.name === name;
    if (!ours) throw foreign(options.purpose, path);
    const netlink = this.#namespaces.at(path);
    const links = await listLinks(netlink, options);
    return { netlink, nics: links.filter((link) => isOurs(link, this.#options.cluster)) };
  }

  async observe(signal: AbortSignal): Promise<readonly ObservedNamespace[]> {
    const observed: ObservedNamespace[] = [];
    for (const path of this.#namespaces.rolePaths()) {
      try {
        const found = await this.#lookInto(path, signal);
        if (found !== undefined) observed.push(found);
      } catch (thrown) {
        // Removed while it was looked at.
        if (this.#namespaces.exists(path)) throw thrown;
      }
    }
    return observed;
  }

  async #lookInto(path: string, signal: AbortSignal): Promise<ObservedNamespace | undefined> {
    const tag = await this.#roleOf(path, signal);
    if (tag === undefined) return undefined;
    const options = { purpose: { action: 'cannot look into', object: path }, signal };
    const netlink = this.#namespaces.at(path);
    const [links, addresses] = await Promise.all([
      listLinks(netlink, options),
      listAddresses(netlink, options),
    ]);
    return describeNamespace(tag, links, addresses);
  }

  /** Networks that have a device of ours on this host, also from before a restart. */
  async observeNetworks(signal: AbortSignal): Promise<readonly string[]> {
    const networks: string[] = [];
    for (const path of this.#namespaces.networkPaths()) {
      const purpose = { action: 'cannot look into', object: path };
      const tag = await this.#namespaces.tagOf(path, { purpose, signal });
      if (tag?.kind !== 'network' || tag.cluster !== this.#options.cluster) continue;
      if (this.#namespaces.networkPath(tag.network) === path) networks.push(tag.network);
    }
    return networks;
  }

  async announce(spec: AnnounceSpec, signal: AbortSignal): Promise<void> {
    await announce(this.#namespaces, spec, signal);
  }

  async probe(
    from: string,
    network: string,
    address: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ProbeResult> {
    return probe(this.#namespaces, from, network, address, timeoutMs, signal);
  }

  /** Tag of a role's namespace of this cluster; undefined for what is not ours or misnamed. */
  async #roleOf(path: string, signal: AbortSignal): Promise<RoleTag | undefined> {
    const purpose = { action: 'cannot look into', object: path };
    const tag = await this.#namespaces.tagOf(path, { purpose, signal });
    if (tag?.kind !== 'role' || tag.cluster !== this.#options.cluster) return undefined;
    return this.#namespaces.rolePath(tag.name) === path ? tag : undefined;
  }

  /** Roles with a NIC on the network, and those about to get one. */
  async #usersOf(network: string, signal: AbortSignal): Promise<readonly string[]> {
    const users = new Set<string>();
    for (const { name, nics } of await this.observe(signal)) {
      if (nics.some((nic) => nic.network === network)) users.add(name);
    }
    for (const { name, nics } of this.#building.values()) {
      if (nics.some((nic) => nic.network === network)) users.add(name);
    }
    return [...users];
  }

  /** @param name what the call is about @param networks each is in a tag together with it */
  #checkNames(action: string, name: string, networks: readonly string[] = []): void {
    const { cluster } = this.#options;
    for (const words of [[cluster, name], ...networks.map((network) => [cluster, name, network])]) {
      if (!fitsTag(words)) throw badName({ action, object: name }, words.join(':'));
    }
  }
}

function describeNamespace(
  tag: RoleTag,
  links: readonly Link[],
  addresses: readonly AddressState[],
): ObservedNamespace {
  const nics = links.flatMap((link) => {
    const nicTag = parseTag(link.alias);
    if (nicTag?.kind !== 'role' || nicTag.network === undefined) return [];
    const own = addresses.filter(
      ({ linkIndex, bytes }) => linkIndex === link.index && !isLinkLocal(bytes),
    );
    const { network } = nicTag;
    return [{ link, nicTag, nic: { network, mac: link.mac, addresses: own.map(cidrText) } }];
  });
  nics.sort((a, b) => numberOf(a.link.name) - numberOf(b.link.name));
  const current = ({ link, nicTag }: (typeof nics)[number]) =>
    link.up && tagText({ ...nicTag, network: undefined }) === tagText(tag);
  const { name, epoch, incarnation } = tag;
  return { name, epoch, incarnation, up: nics.every(current), nics: nics.map(({ nic }) => nic) };
}

/** 10 of 'eth10'. */
function numberOf(interfaceName: string): number {
  return Number(interfaceName.replace(/^\D+/, ''));
}
