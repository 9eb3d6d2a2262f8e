import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { type FilterSpot, filterNames } from '../bpf/attach.js';
import { dispatcherName, sharedName } from '../config/dispatchers.js';
import type { ClusterConfig, ServiceConfig } from '../config/types.js';
import { inNetworkNamespace } from '../ffi/namespace.js';
import type { DispatchedFacts, MemberPathFacts, PathFacts } from './facts.js';
import { attempt } from './gather-kernel.js';
import { heardOf, type Listening, listeningIn } from './listening.js';

const nic = 'eth0';
const loopback = 'lo';
/** src/fencing/guard.ts and src/dispatch/bpf-dispatcher.ts. */
const [guardPriority, dispatchPriority, handle] = [1, 2, 0x7573];

export interface PathPlaces {
  /** Folder of named network namespaces. */
  readonly namespaces: string;
  /** Folder in which the agent notes what goes by nftables. */
  readonly nftables: string;
}

/** The way of a service's packets through this host: its dispatcher and its members, as far as they are here. */
export function gatherPaths(
  cluster: ClusterConfig | undefined,
  { namespaces, nftables }: PathPlaces,
): PathFacts | undefined {
  if (cluster === undefined) return undefined;
  const dispatched: DispatchedFacts[] = [];
  const members: MemberPathFacts[] = [];
  const troubles: string[] = [];
  const look = (path: string, action: (path: string) => void) => {
    if (!existsSync(path)) return;
    const trouble = attempt(() => action(path));
    if (trouble !== undefined) troubles.push(`${path}: ${trouble}`);
  };
  for (const service of cluster.services) {
    look(join(namespaces, `us-svc-${service.name}`), (path) => {
      dispatched.push(dispatchedAt(path, service, existsSync(join(nftables, service.name))));
    });
    // Several dispatchers of one service have the same members.
    if (service.group !== undefined && service.name !== dispatcherName(service.group, 0)) continue;
    for (const { personality } of service.members) {
      look(join(namespaces, `us-${personality}`), (path) => {
        members.push(memberAt(path, service, personality));
      });
    }
  }
  return { dispatched, members, troubles };
}

function dispatchedAt(
  namespacePath: string,
  { name, addresses, nextHops = addresses }: ServiceConfig,
  byNft: boolean,
): DispatchedFacts {
  const own = inNetworkNamespace(namespacePath, () => addressesOf(nic));
  const spot = (hook: FilterSpot['hook'], priority: number) => ({
    ...{ namespacePath, interfaceName: nic, handle },
    ...{ hook, priority },
  });
  const [guardIn, guardOut, program] = filterNames([
    spot('ingress', guardPriority),
    spot('egress', guardPriority),
    spot('ingress', dispatchPriority),
  ]);
  return {
    service: name,
    missing: nextHops.filter((address) => !own.includes(address)),
    guarded: guardIn === 'us_guard_in' && guardOut === 'us_guard_out',
    by: program === 'us_dispatch' ? 'bpf' : byNft ? 'nftables' : undefined,
  };
}

function memberAt(path: string, service: ServiceConfig, personality: string): MemberPathFacts {
  const { held, answersArp, listening } = inNetworkNamespace(path, () => ({
    held: addressesOf(loopback),
    answersArp: ['all', nic].every((device) => number(`conf/${device}/arp_ignore`) === 0),
    listening: listeningIn('/proc/thread-self/net'),
  }));
  return {
    ...{ service: sharedName(service), personality, answersArp },
    missing: service.addresses.filter((address) => !held.includes(address)),
    ...unheard(service, listening),
  };
}

/** Ranges are left out: of ports for data many wait for nobody. */
function unheard(
  { addresses, ports }: ServiceConfig,
  listening: readonly Listening[],
): Pick<MemberPathFacts, 'heard' | 'elsewhere'> {
  const single = ports.filter(({ first, last }) => first === last);
  const asked = addresses.flatMap((address) =>
    single.map(({ protocol, first: port }) => ({ protocol, address, port })),
  );
  const found = asked.map((one) => ({ one, ...heardOf(listening, one) }));
  return {
    heard: single.length === 0 ? undefined : found.some(({ heard }) => heard),
    elsewhere: found.flatMap(({ one, heard, others }) =>
      heard || others.length === 0
        ? []
        : [`${one.protocol}/${one.port} on ${others.join(', ')}, not on ${one.address}`],
    ),
  };
}

/** Of a device that is up, in this thread's network namespace. */
function addressesOf(device: string): readonly string[] {
  return (networkInterfaces()[device] ?? []).map(({ address }) => address);
}

/** In this thread's network namespace. */
function number(sysctl: string): number {
  return Number(readFileSync(`/proc/sys/net/ipv4/${sysctl}`, 'utf8'));
}
