import { sharedName } from '../config/dispatchers.js';
import type { ClusterConfig, Fabric, NetworkConfig, ServiceConfig } from '../config/types.js';
import { type Lookup, lookup } from '../control/lookup.js';
import { isSilent } from '../control/silence.js';
import { memberHealth, ownerOf, trafficOf, weightNow } from '../control/status.js';
import { parseRoleId, type Role, roleId, type View } from '../control/view.js';
import { isShutOut } from '../control/votes.js';
import type { DispatchSpec } from '../dispatch/types.js';
import { UnderstudyError } from '../errors.js';
import type { NamespaceSpec, NetworkSpec, NicSpec, PeerSpec } from '../network/types.js';
import type { AttachSpec } from '../storage/types.js';

/** What the adapters are asked for, worked out of the cluster file and the store. Pure. */

export interface HostFacts {
  readonly host: string;
  readonly underlayInterface: string;
  readonly underlayAddress: string;
}

/** Name of a role's namespace, without `us-`. */
export function namespaceName(role: Role): string {
  return role.kind === 'personality' ? role.name : `svc-${role.name}`;
}

export function networkSpec(config: ClusterConfig, name: string, facts: HostFacts): NetworkSpec {
  const network = networkOf(config, name);
  return {
    name,
    fabric: fabricOf(network),
    id: network.id,
    mtu: network.mtu,
    underlayInterface: facts.underlayInterface,
    underlayAddress: facts.underlayAddress,
  };
}

/** `auto` is decided by `apply`; here it can only mean a file that never went through it. */
function fabricOf(network: NetworkConfig): Fabric {
  if (network.fabric !== 'auto') return network.fabric;
  throw new UnderstudyError({
    code: 'US_FABRIC_UNDECIDED',
    action: 'cannot set up network',
    object: network.name,
    cause: 'its fabric is still auto',
    remedy: 'apply the cluster file with understudy apply, which decides it',
  });
}

export function networkOf(config: ClusterConfig, name: string): NetworkConfig {
  const network = lookup(config).networks.get(name);
  if (network === undefined) throw new Error(`no network ${name} in the configuration`);
  return network;
}

/** NICs of a role, as every host computes them. */
export function nicsOf(config: ClusterConfig, role: Role): readonly NicSpec[] {
  if (role.kind === 'personality') {
    return lookup(config).personalities.get(role.name)?.networks ?? [];
  }
  const service = lookup(config).services.get(role.name);
  if (service === undefined) return [];
  const { subnets } = networkOf(config, service.network);
  const addresses = (service.nextHops ?? service.addresses).map((address) => {
    const subnet = subnets.find((found) => found.includes(':') === address.includes(':'));
    return `${address}/${subnet?.split('/')[1] ?? (address.includes(':') ? '128' : '32')}`;
  });
  return [{ network: service.network, mac: service.mac, addresses }];
}

export function personalityNamespace(
  config: ClusterConfig,
  name: string,
  epoch: number,
  incarnation: number,
): NamespaceSpec {
  const personality = lookup(config).personalities.get(name);
  return {
    name,
    cluster: config.cluster,
    epoch,
    incarnation,
    nics: nicsOf(config, { kind: 'personality', name }),
    routes: personality?.routes ?? [],
    loopbackAddresses: [
      ...new Set(servicesWith(config, name).flatMap((service) => service.addresses)),
    ],
  };
}

/**
 * The dispatcher's namespace. `answering` false leaves the VIP off: without it the stack ignores
 * the service's packets, with it it would reset connections that it does not know. So the VIP comes
 * only once the data plane is attached.
 */
export function serviceNamespace(
  config: ClusterConfig,
  name: string,
  epoch: number,
  incarnation: number,
  answering: boolean,
): NamespaceSpec {
  const nics = nicsOf(config, { kind: 'service', name });
  const service = lookup(config).services.get(name);
  // Beside next hops: routers send it here, and the stack answers echo.
  const held = service?.nextHops === undefined ? [] : service.addresses;
  return {
    name: namespaceName({ kind: 'service', name }),
    cluster: config.cluster,
    epoch,
    incarnation,
    nics: answering ? nics : nics.map((nic) => ({ ...nic, addresses: [] })),
    routes: [],
    loopbackAddresses: answering ? held : [],
  };
}

export function servicesWith(config: ClusterConfig, personality: string): readonly ServiceConfig[] {
  return lookup(config).servicesOf.get(personality) ?? [];
}

/** @param facts of the host that dispatches; without them, what is the same on every host */
export function dispatchSpec(
  view: View,
  service: ServiceConfig,
  incarnation: number,
  facts?: Pick<HostFacts, 'host' | 'underlayInterface'>,
): DispatchSpec {
  const config = view.config?.value.config;
  const parts = config === undefined ? undefined : lookup(config);
  const owner = ownerOf(view, service);
  return {
    service: service.name,
    namespace: namespaceName({ kind: 'service', name: service.name }),
    incarnation,
    mac: service.mac,
    addresses: service.addresses,
    ports: service.ports,
    hash: service.hash,
    members: service.members.map(({ personality, weight }) => ({
      personality,
      mac:
        parts?.personalities
          .get(personality)
          ?.networks.find(({ network }) => network === service.network)?.mac ?? '',
      weight:
        owner === undefined
          ? weightNow(view, sharedName(service), { personality, weight })
          : owner === personality
            ? weight
            : 0,
      ...hereIf(isHere(view, service, personality, facts)),
      healthy: memberHealth(view, sharedName(service), personality, weight) !== 'down',
    })),
    seed: view.allocation?.value.seeds[sharedName(service)] ?? '',
    drainMs: service.drainMs,
    udpStickyMs: service.udpStickyMs,
    otherDispatchers: (config?.services ?? [])
      .filter(({ name }) => name !== service.name)
      .map(({ mac }) => mac),
    ...xdpOf(config, service, facts),
    ...dataPlaneOf(view, service, facts),
  };
}

/** Who dispatches decides by itself where the file leaves it open; who only looks goes by what that one says. */
function dataPlaneOf(
  view: View,
  { name, dataPlane }: ServiceConfig,
  facts: unknown,
): Pick<DispatchSpec, 'dataPlane'> {
  if (dataPlane !== undefined) return { dataPlane };
  if (facts !== undefined || trafficOf(view, name)?.by === undefined) return {};
  return { dataPlane: 'nftables' };
}

/** Only XDP asks where a member is: without it a move changes no ring. */
function isHere(
  view: View,
  { xdp }: ServiceConfig,
  personality: string,
  facts: Pick<HostFacts, 'host'> | undefined,
): boolean {
  if (!xdp || facts === undefined) return false;
  const id = roleId({ kind: 'personality', name: personality });
  return view.assignments.get(id)?.value.host === facts.host;
}

const hereIf = (here: boolean) => (here ? { here } : {});

/** On a network that the NIC sees as it is; what `auto` became is known here. */
function xdpOf(
  config: ClusterConfig | undefined,
  { xdp, network }: ServiceConfig,
  facts: Pick<HostFacts, 'underlayInterface'> | undefined,
): Pick<DispatchSpec, 'xdpOn' | 'vlan'> {
  if (!xdp || facts === undefined || config === undefined) return {};
  const { fabric, id } = networkOf(config, network);
  if (fabric !== 'vlan' && fabric !== 'untagged') return {};
  return { xdpOn: facts.underlayInterface, vlan: fabric === 'vlan' ? id : 0 };
}

/** Volumes of a personality on a host, by virtual LUN. */
export function attachSpecs(
  view: View,
  config: ClusterConfig,
  name: string,
  host: string,
  epoch: number,
): readonly AttachSpec[] {
  const { personalities, volumes } = lookup(config);
  const personality = personalities.get(name);
  return (personality?.storage ?? []).flatMap(({ lun, volume: volumeName }) => {
    const volume = volumes.get(volumeName);
    if (volume === undefined) return [];
    return [
      {
        cluster: config.cluster,
        personality: name,
        host,
        epoch,
        lun,
        volume: volumeName,
        portals: volume.portals,
        target: volume.target,
        targetLun: volume.lun,
        filesystem: volume.filesystem,
        format: volume.format,
        access: volume.access,
        chap: volume.chap,
        fence: volume.fence,
        recordedSerial: view.volumes.get(volumeName)?.value.serial,
      },
    ];
  });
}

/** Networks that roles placed on this host stand on, and those it joins without any. */
export function networksHere(view: View, config: ClusterConfig, host: string): ReadonlySet<string> {
  const joins = lookup(config).hosts.get(host)?.joins ?? [];
  const networks = new Set(joins);
  for (const [id, { value }] of view.assignments) {
    if (value.host !== host) continue;
    for (const nic of nicsOf(config, parseRoleId(id))) networks.add(nic.network);
  }
  return networks;
}

/**
 * Forwarding of one VXLAN network as this host must have it: where every member's vMAC is now, and
 * who gets broadcasts. Only hosts with a role on the network, hosts that join it and its gateways
 * belong to it; a host that lost its role is out of both lists with the commit. One that is dead while
 * nobody can take its role over keeps the role's vMAC, but gets no broadcasts: the kernel would queue
 * them for a neighbour that never answers.
 */
export function peerSpec(
  view: View,
  config: ClusterConfig,
  network: string,
  facts: HostFacts,
): PeerSpec {
  const parts = lookup(config);
  const unicast: { mac: string; via: string }[] = [];
  const flood = new Set<string>(networkOf(config, network).gateways);
  for (const { name, joins, address } of config.hosts) {
    const incarnation = view.hosts.get(name)?.value.incarnation;
    if (!joins.includes(network)) continue;
    if (incarnation === undefined || !isDead(view, name, incarnation)) flood.add(address);
  }
  for (const [id, { value }] of view.assignments) {
    if (value.host === null) continue;
    const via = parts.hosts.get(value.host)?.address;
    // A host that left the file with a role on it is out of reach; the others must not be.
    if (via === undefined) continue;
    const dead = isDead(view, value.host, value.incarnation);
    for (const mac of macsOn(parts, parseRoleId(id), network)) {
      if (!dead) flood.add(via);
      if (value.host !== facts.host) unicast.push({ mac, via });
    }
  }
  flood.delete(facts.underlayAddress);
  flood.delete('');
  const others = [...flood].sort();
  return { network, unicast, flood: others, allowed: others };
}

function macsOn(
  { personalities, services }: Lookup,
  role: Role,
  network: string,
): readonly string[] {
  if (role.kind === 'personality') {
    const nics = personalities.get(role.name)?.networks ?? [];
    return nics.filter((nic) => nic.network === network).map(({ mac }) => mac);
  }
  const service = services.get(role.name);
  return service?.network === network ? [service.mac] : [];
}

function isDead(view: View, host: string, incarnation: number): boolean {
  return isShutOut(view, host, incarnation) && isSilent(view, host, incarnation);
}

/**
 * Everything that a role here is made of, as one text: when it changes, the role is looked at again.
 * Most news in the store change nothing of it.
 */
export function wishOf(view: View, role: Role, host: string): string {
  const config = view.config?.value.config;
  if (config === undefined) return '';
  const { name } = role;
  if (role.kind === 'personality') {
    const personality = lookup(config).personalities.get(name);
    const namespace = personalityNamespace(config, name, 0, 0);
    return JSON.stringify([namespace, attachSpecs(view, config, name, host, 0), personality]);
  }
  const service = lookup(config).services.get(name);
  if (service === undefined) return '';
  return JSON.stringify([
    serviceNamespace(config, name, 0, 0, true),
    dispatchSpec(view, service, 0, { host, underlayInterface: '' }),
  ]);
}
