import { stringify } from 'yaml';
import type { Random } from '../../src/simulate/random.js';

/** A cluster file as changes are drawn on it: four hosts, three personalities at most, one spare. */
export interface DrawnFile {
  readonly cluster: string;
  readonly mtu: number;
  readonly green: boolean;
  readonly personalities: readonly DrawnPersonality[];
  readonly service: DrawnService | null;
}

interface DrawnPersonality {
  readonly name: string;
  /** Last octet on blue. */
  readonly address: number;
  readonly ipv6: boolean;
  readonly route: boolean;
  readonly mac: number;
  readonly green: boolean;
  readonly volume: boolean;
  readonly seconds: number;
}

interface DrawnService {
  readonly address: number;
  readonly weights: Readonly<Record<string, number>>;
  readonly hash: string;
}

/** h5 dispatches and carries nothing else. */
export const drawnHosts: readonly { readonly name: string; readonly pool?: string }[] = [
  ...['h1', 'h2', 'h3', 'h4'].map((name) => ({ name })),
  { name: 'h5', pool: 'dispatch' },
];

const names = ['web1', 'web2', 'web3', 'web4'];
/** LUNs of the lab: two personalities may have a volume. */
const volumes: Readonly<Record<string, string>> = { web1: 'one', web3: 'two' };

export function drawnFile(cluster: string): DrawnFile {
  return {
    ...{ cluster, mtu: 1_450, green: false },
    personalities: [newcomer('web1', 11, true), newcomer('web2', 12, false)],
    service: { address: 100, weights: { web1: 1, web2: 1 }, hash: 'source-ip-port' },
  };
}

function newcomer(name: string, address: number, volume: boolean): DrawnPersonality {
  return {
    ...{ name, address, volume, ipv6: false, route: false, mac: 0, green: false },
    seconds: 1_000_000,
  };
}

type Change = (file: DrawnFile, random: Random) => DrawnFile | undefined;

/** One personality becomes another; all else stays. */
const ofOne =
  (change: (one: DrawnPersonality, random: Random, file: DrawnFile) => DrawnPersonality): Change =>
  (file, random) => {
    const { name } = random.pick(file.personalities);
    const personalities = file.personalities.map((one) =>
      one.name === name ? change(one, random, file) : one,
    );
    return { ...file, personalities };
  };

const ofService =
  (change: (service: DrawnService, random: Random, file: DrawnFile) => DrawnService): Change =>
  (file, random) =>
    file.service === null ? undefined : { ...file, service: change(file.service, random, file) };

/** What may be drawn; undefined where it does not fit. Nothing here makes a plan warn. */
const changes: Readonly<Record<string, Change>> = {
  'an IPv6 address comes or goes': ofOne((one) => ({ ...one, ipv6: !one.ipv6 })),
  'another address': ofOne((one, random) => ({ ...one, address: 20 + random.below(200) })),
  'another vMAC': ofOne((one, random) => ({ ...one, mac: 1 + random.below(250) })),
  'a route comes or goes': ofOne((one) => ({ ...one, route: !one.route })),
  'another command': ofOne((one) => ({ ...one, seconds: one.seconds + 1 })),
  'a NIC on the second network comes or goes': (file, random) =>
    file.green ? ofOne((one) => ({ ...one, green: !one.green }))(file, random) : undefined,
  'the second network comes or goes': (file) =>
    file.personalities.some(({ green }) => green) ? undefined : { ...file, green: !file.green },
  'another MTU': (file, random) => ({
    ...file,
    mtu: random.pick([1_300, 1_400, 1_450].filter((mtu) => mtu !== file.mtu)),
  }),
  'a personality comes': (file, random) => {
    const free = names.filter((name) => !file.personalities.some((one) => one.name === name));
    if (file.personalities.length >= 3) return undefined;
    const name = random.pick(free);
    const fresh = newcomer(name, 20 + random.below(200), name in volumes);
    return { ...file, personalities: [...file.personalities, fresh] };
  },
  'a personality goes': (file, random) => {
    if (file.personalities.length <= 2) return undefined;
    const { name } = random.pick(file.personalities);
    const { [name]: _gone, ...weights } = file.service?.weights ?? {};
    if (file.service !== null && Object.keys(weights).length === 0) return undefined;
    const personalities = file.personalities.filter((one) => one.name !== name);
    return { ...file, personalities, service: file.service && { ...file.service, weights } };
  },
  'other weights': ofService((service, random) => ({
    ...service,
    weights: Object.fromEntries(
      Object.keys(service.weights).map((name) => [name, 1 + random.below(4)]),
    ),
  })),
  'a member comes': ofService((service, random, file) => {
    const others = file.personalities.filter(({ name }) => !(name in service.weights));
    if (others.length === 0) return service;
    return { ...service, weights: { ...service.weights, [random.pick(others).name]: 1 } };
  }),
  'another hash': ofService((service, random) => ({
    ...service,
    hash: random.pick(['source-ip', 'source-ip-port', '5-tuple']),
  })),
  'the service goes, or comes at another address': (file, random) =>
    file.service === null
      ? {
          ...file,
          service: {
            ...{ address: 230 + random.below(20), hash: 'source-ip' },
            weights: Object.fromEntries(file.personalities.map(({ name }) => [name, 1])),
          },
        }
      : { ...file, service: null },
};

/** The next file: one or two changes on top of this one, and what they are. */
export function nextFile(
  file: DrawnFile,
  random: Random,
): { readonly file: DrawnFile; readonly what: string } {
  const wanted = 1 + random.below(2);
  const told: string[] = [];
  let next = file;
  while (told.length < wanted) {
    const [what, change] = random.pick(Object.entries(changes));
    const changed = change(next, random);
    if (changed === undefined || told.includes(what) || !fits(changed)) continue;
    if (fileText(changed) === fileText(next)) continue;
    next = changed;
    told.push(what);
  }
  // Two that undo each other are no change.
  return fileText(next) === fileText(file)
    ? nextFile(file, random)
    : { file: next, what: told.join(', ') };
}

function fits({ personalities, service }: DrawnFile): boolean {
  const addresses = [...personalities.map(({ address }) => address), service?.address ?? 0];
  const macs = personalities.flatMap(({ mac }) => (mac === 0 ? [] : [mac]));
  return new Set(addresses).size === addresses.length && new Set(macs).size === macs.length;
}

export const withVolumes = ({ personalities }: DrawnFile): readonly string[] =>
  personalities.flatMap(({ name, volume }) => (volume ? [name] : []));

export function fileText({ cluster, mtu, green, personalities, service }: DrawnFile): string {
  const hex = (number: number) => number.toString(16).padStart(2, '0');
  return stringify({
    cluster,
    controllers: ['h1', 'h2', 'h3'],
    hosts: drawnHosts,
    networks: [
      ...[
        { name: 'blue', fabric: 'vxlan', id: 100, subnet: ['10.10.0.0/24', 'fd00:10::/64'], mtu },
      ],
      ...(green ? [{ name: 'green', fabric: 'vxlan', id: 200, subnet: '10.20.0.0/24' }] : []),
    ],
    volumes: withVolumes({ personalities } as DrawnFile).map((name) => ({
      ...{ name: `data-${name}`, target: `iqn.2026-11.example.lab:${volumes[name]}`, lun: 1 },
      format: 'if-blank',
    })),
    personalities: personalities.map((one) => ({
      name: one.name,
      networks: [
        {
          network: 'blue',
          address: [
            `10.10.0.${one.address}/24`,
            ...(one.ipv6 ? [`fd00:10::${hex(one.address)}/64`] : []),
          ],
          ...(one.mac === 0 ? {} : { mac: `02:00:00:00:77:${hex(one.mac)}` }),
        },
        ...(one.green ? [{ network: 'green', address: `10.20.0.${one.address}/24` }] : []),
      ],
      ...(one.route ? { routes: [{ to: 'default', via: '10.10.0.1' }] } : {}),
      ...(one.volume
        ? { storage: [{ lun: 0, volume: `data-${one.name}`, mount: '/srv/www' }] }
        : {}),
      workload: { command: ['sleep', String(one.seconds)] },
    })),
    services:
      service === null
        ? []
        : [
            {
              ...{ name: 'web', network: 'blue', address: `10.10.0.${service.address}` },
              ports: [{ protocol: 'tcp', port: 80 }],
              hash: service.hash,
              pool: 'dispatch',
              members: Object.entries(service.weights).map(([personality, weight]) => ({
                personality,
                weight,
              })),
            },
          ],
    lab: {
      clients: [{ name: 'c1', network: 'blue', address: '10.10.0.254/24' }],
      storage: ['one', 'two'].map((name) => ({
        target: `iqn.2026-11.example.lab:${name}`,
        luns: [{ lun: 1, size: '64MiB' }],
      })),
    },
  });
}
