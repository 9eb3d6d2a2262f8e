import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { canonical, contains, parseAddress, parsePrefix } from '../config/addresses.js';
import { readSettings } from '../config/settings.js';
import type { ClusterConfig } from '../config/types.js';

const name = z.string().min(1);
const prefix = z
  .string()
  .refine((text) => parsePrefix(text) !== undefined, 'write a prefix, e.g. 10.10.0.0/24');

/** How one site's definition becomes another's. What is not named stays. */
export const translationSchema = z.strictObject({
  cluster: name.optional(),
  store: z.strictObject({ endpoints: z.array(z.string()).min(1) }).optional(),
  /** Prefix here → prefix of the same length there; the longest that fits counts. */
  addresses: z.record(prefix, prefix).default({}),
  hosts: z
    .record(
      name,
      z.strictObject({
        name: name.optional(),
        address: z.string().optional(),
        interface: z.string().optional(),
      }),
    )
    .default({}),
  networks: z
    .record(
      name,
      z.strictObject({
        name: name.optional(),
        fabric: z.enum(['untagged', 'vlan', 'vxlan', 'auto']).optional(),
        id: z.int().min(0).optional(),
        mtu: z.int().optional(),
      }),
    )
    .default({}),
  volumes: z
    .record(
      name,
      z.strictObject({
        portals: z.array(z.string()).optional(),
        target: z.string().optional(),
        lun: z.int().min(0).optional(),
      }),
    )
    .default({}),
  /** Beginning of a target's name → what stands there instead. */
  targets: z.record(z.string(), z.string()).default({}),
  /** `drop`: allocate others, for a site whose virtual LANs meet this one's. */
  macs: z.enum(['keep', 'drop']).default('keep'),
});

export type Translation = z.infer<typeof translationSchema>;

/** @throws {UnderstudyError} US_IMPORT_MAP */
export function readTranslation(path: string): Translation {
  return readSettings(path, translationSchema, 'US_IMPORT_MAP', 'docs/operations.md shows one');
}

export interface Translated {
  readonly config: ClusterConfig;
  /** What was left as it is although it is a site's own, and what of the map nothing asked for. */
  readonly notes: readonly string[];
}

/** The definition for another site. Pure; whether it is a sound one is for the file's own checks to say. */
export function translate(config: ClusterConfig, map: Translation): Translated {
  const notes = new Set<string>();
  const address = (text: string, what: string) => {
    const other = throughPrefixes(text, map.addresses);
    if (other === undefined)
      notes.add(`${what}: address ${text} is in no prefix of the map: it stays`);
    return other ?? text;
  };
  const portal = (text: string, what: string) => {
    const [, inner = '', port = ''] = text.match(/^\[?(.*?)\]?(:\d+)$/) ?? [];
    const other = address(inner, what);
    return other.includes(':') ? `[${other}]${port}` : `${other}${port}`;
  };
  const hostName = (old: string) => map.hosts[old]?.name ?? old;
  const networkName = (old: string) => map.networks[old]?.name ?? old;
  const mac = (old: string) => (map.macs === 'drop' ? '' : old);
  const endpoint = (text: string) => {
    const [, scheme = '', rest = ''] = text.match(/^(https?:\/\/)(.*)$/) ?? [];
    return /^[\d[]/.test(rest) ? `${scheme}${portal(rest, 'store')}` : text;
  };
  const translated: ClusterConfig = {
    ...config,
    cluster: map.cluster ?? config.cluster,
    controllers: config.controllers.map(hostName),
    store: map.store ?? { endpoints: config.store.endpoints.map(endpoint) },
    hosts: config.hosts.map((host) => ({
      ...host,
      name: hostName(host.name),
      address: map.hosts[host.name]?.address ?? address(host.address, `host ${host.name}`),
      interface: map.hosts[host.name]?.interface ?? host.interface,
      joins: host.joins.map(networkName),
    })),
    networks: config.networks.map((network) => {
      const { name: _name, ...changes } = map.networks[network.name] ?? {};
      const what = `network ${network.name}`;
      return {
        ...network,
        ...defined(changes),
        name: networkName(network.name),
        subnets: network.subnets.map((subnet) => address(subnet, what)),
        gateways: network.gateways.map((gateway) => address(gateway, what)),
      };
    }),
    volumes: config.volumes.map((volume) => {
      const own = map.volumes[volume.name] ?? {};
      const what = `volume ${volume.name}`;
      return {
        ...volume,
        lun: own.lun ?? volume.lun,
        target: own.target ?? throughBeginnings(volume.target, map.targets, what, notes),
        portals: own.portals ?? volume.portals.map((one) => portal(one, what)),
      };
    }),
    personalities: config.personalities.map((personality) => {
      const what = `personality ${personality.name}`;
      return {
        ...personality,
        networks: personality.networks.map((nic) => ({
          network: networkName(nic.network),
          addresses: nic.addresses.map((one) => address(one, what)),
          mac: mac(nic.mac),
        })),
        routes: personality.routes.map(({ to, via }) => ({
          to: throughPrefixes(to, map.addresses) ?? to,
          via: address(via, what),
        })),
      };
    }),
    services: config.services.map((service) => ({
      ...service,
      network: networkName(service.network),
      addresses: service.addresses.map((one) => address(one, `service ${service.name}`)),
      mac: mac(service.mac),
    })),
  };
  return { config: translated, notes: [...notes, ...unused(config, map)] };
}

/** An address or prefix in the longest prefix of the map that holds it; undefined for none. */
export function throughPrefixes(
  text: string,
  prefixes: Readonly<Record<string, string>>,
): string | undefined {
  const [plain = '', length] = text.split('/');
  const bytes = parseAddress(plain);
  if (bytes === undefined) return undefined;
  const fitting = Object.entries(prefixes).flatMap(([from, to]) => {
    const [here, there] = [parsePrefix(from), parsePrefix(to)];
    if (here === undefined || there === undefined || !contains(here, bytes)) return [];
    return length !== undefined && Number(length) < here.bits ? [] : [{ here, there }];
  });
  const [best] = fitting.sort((a, b) => b.here.bits - a.here.bits);
  if (best === undefined) return undefined;
  const { here, there } = best;
  const moved = bytes.map((octet, index) => {
    const bits = Math.min(8, Math.max(0, here.bits - index * 8));
    const mask = (0xff << (8 - bits)) & 0xff;
    return ((there.bytes[index] ?? 0) & mask) | (octet & ~mask & 0xff);
  });
  const address = ipaddr.fromByteArray(moved).toString();
  return canonical(length === undefined ? address : `${address}/${length}`);
}

function throughBeginnings(
  target: string,
  targets: Readonly<Record<string, string>>,
  what: string,
  notes: Set<string>,
): string {
  const [from] = Object.keys(targets)
    .filter((beginning) => target.startsWith(beginning))
    .sort((a, b) => b.length - a.length);
  if (from === undefined) {
    notes.add(`${what}: target ${target} begins like none of the map: it stays`);
    return target;
  }
  return `${targets[from]}${target.slice(from.length)}`;
}

/** A name in the map that the file does not have is most likely mistyped. */
function unused(config: ClusterConfig, map: Translation): readonly string[] {
  const kinds = ['hosts', 'networks', 'volumes'] as const;
  const strange = kinds.flatMap((kind) => {
    const there = new Set(config[kind].map((one) => one.name));
    return Object.keys(map[kind])
      .filter((one) => !there.has(one))
      .map((one) => `the map has ${kind}.${one}, the file has not`);
  });
  const unequal = Object.entries(map.addresses).flatMap(([from, to]) => {
    const same =
      parsePrefix(from)?.bits === parsePrefix(to)?.bits && from.includes(':') === to.includes(':');
    return same
      ? []
      : [`prefixes ${from} and ${to} are of different length: host bits may collide`];
  });
  return [...strange, ...unequal];
}

function defined<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
