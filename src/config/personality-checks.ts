import { contains, parseAddress, parsePrefix, prefixText } from './addresses.js';
import { doubles, type Fault, type Path, unknown } from './faults.js';
import type { ClusterFile } from './schema.js';

type Personality = ClusterFile['personalities'][number];

/** A dispatcher's namespace is named so; a personality's has the personality's name. */
const dispatcherPrefix = 'svc-';

/** Folders below the run directory that are not a personality's. */
const takenNames: readonly string[] = ['blk', 'boot-token', 'log', 'workload'];

export function checkPersonalities(file: ClusterFile): readonly Fault[] {
  const pools = [...new Set(file.hosts.flatMap(({ pool }) => pool ?? []))];
  const networks = file.networks.map(({ name }) => name);
  return [
    ...file.personalities.flatMap((personality, index): Fault[] => {
      const path = ['personalities', index];
      return [
        ...checkName(personality, path),
        ...(pools.includes(personality.pool)
          ? []
          : [unknown([...path, 'pool'], 'host in pool', personality.pool, pools)]),
        ...checkNics(personality, path, networks),
        ...personality.routes.flatMap((route, at) =>
          checkRoute(route, personality, [...path, 'routes', at]),
        ),
        ...checkTargets(personality, path),
      ];
    }),
    ...doubles(
      file.personalities.flatMap(({ workload }, index) =>
        workload !== undefined && 'unit' in workload
          ? [{ value: workload.unit, path: ['personalities', index, 'workload', 'unit'] }]
          : [],
      ),
      (unit) => `two personalities have the unit ${unit}: it runs once a host`,
      'write an instance each, e.g. nginx@web1.service and nginx@web2.service',
    ),
  ];
}

function checkName({ name }: Personality, path: Path): readonly Fault[] {
  const at = [...path, 'name'];
  if (takenNames.includes(name)) {
    const what = `a personality cannot be called ${name}: its folder has another use`;
    return [{ path: at, what, write: 'choose another name' }];
  }
  if (!name.startsWith(dispatcherPrefix)) return [];
  const what = `${name} begins as the namespace of a dispatcher does`;
  return [{ path: at, what, write: `write a name that does not begin with ${dispatcherPrefix}` }];
}

function checkNics(
  { name, networks }: Personality,
  path: Path,
  known: readonly string[],
): readonly Fault[] {
  const at = (index: number) => [...path, 'networks', index];
  return [
    ...networks.flatMap(({ network }, index) =>
      known.includes(network)
        ? []
        : [unknown([...at(index), 'network'], 'network', network, known)],
    ),
    ...doubles(
      networks.map(({ network }, index) => ({ value: network, path: at(index) })),
      (network) => `${name} is twice on network ${network}`,
      'write one NIC a network',
    ),
  ];
}

/** The kernel refuses a next hop that no NIC reaches: tell it here, not in a takeover. */
function checkRoute(
  { to, via }: Personality['routes'][number],
  { name, networks }: Personality,
  path: Path,
): readonly Fault[] {
  const faults: Fault[] = [];
  const prefix = parsePrefix(to);
  if (to !== 'default' && prefix === undefined) {
    const write = 'write default or e.g. 10.20.0.0/16';
    faults.push({ path: [...path, 'to'], what: `${to} is no prefix`, write });
  }
  const hop = parseAddress(via);
  if (hop === undefined) {
    const write = 'write the next hop, e.g. 10.10.0.1';
    return [...faults, { path: [...path, 'via'], what: `${via} is no IP address`, write }];
  }
  if (prefix !== undefined && prefix.bytes.length !== hop.length) {
    const write = 'write a next hop of the same address family';
    return [...faults, { path: [...path, 'via'], what: `${via} cannot lead to ${to}`, write }];
  }
  const own = networks.flatMap(({ address }) => address.flatMap((text) => parsePrefix(text) ?? []));
  if (own.some((one) => contains(one, hop))) return faults;
  const what = `${via} is on no network of ${name}`;
  const write = 'write a next hop in the subnet of one of its NICs';
  return [...faults, { path: [...path, 'via'], what, write }];
}

/** Two next hops for one target would take each other's place each time the host looks. */
function checkTargets({ name, routes }: Personality, path: Path): readonly Fault[] {
  const items = routes.flatMap(({ to, via }, at) => {
    const whole = via.includes(':') ? '::/0' : '0.0.0.0/0';
    const prefix = parsePrefix(to === 'default' ? whole : to);
    if (prefix === undefined) return [];
    return [{ value: prefixText(prefix), path: [...path, 'routes', at, 'to'] }];
  });
  return doubles(items, (to) => `${name} has two routes to ${to}`, 'write one next hop for it');
}
