import { dispatcherName } from './dispatchers.js';
import { doubles, type Fault, type Path, unknown } from './faults.js';
import type { ClusterFile } from './schema.js';

type Service = ClusterFile['services'][number];

export function checkServices(file: ClusterFile): readonly Fault[] {
  const networks = file.networks.map(({ name }) => name);
  const pools = [...new Set(file.hosts.flatMap(({ pool }) => pool ?? []))];
  return file.services.flatMap((service, index): Fault[] => {
    const path = ['services', index];
    const known = networks.includes(service.network);
    return [
      ...(known ? [] : [unknown([...path, 'network'], 'network', service.network, networks)]),
      ...(pools.includes(service.pool)
        ? []
        : [unknown([...path, 'pool'], 'host in pool', service.pool, pools)]),
      ...checkMembers(service, file, known, path),
      ...checkPorts(service, path),
      ...checkXdp(service, file, path),
      ...checkNftables(service, path),
      ...checkDispatchers(service, file, path),
      ...checkHealth(service, [...path, 'health']),
      ...checkSlowStart(service, [...path, 'slowStart']),
    ];
  });
}

function checkMembers(
  service: Service,
  file: ClusterFile,
  networkKnown: boolean,
  path: Path,
): readonly Fault[] {
  const names = file.personalities.map(({ name }) => name);
  const members = service.members.map((member) =>
    typeof member === 'string' ? member : member.personality,
  );
  const at = (index: number) => [...path, 'members', index];
  return [
    ...members.flatMap((name, index): readonly Fault[] => {
      const personality = file.personalities.find((found) => found.name === name);
      if (personality === undefined) return [unknown(at(index), 'personality', name, names)];
      if (!networkKnown) return []; // told already
      const nic = personality.networks.find(({ network }) => network === service.network);
      return checkMember(service, name, nic, at(index));
    }),
    ...doubles(
      members.map((value, index) => ({ value, path: at(index) })),
      (name) => `${name} is twice a member of ${service.name}`,
      'name it once, with a weight',
    ),
  ];
}

/** A member answers the client itself, from its own NIC on the service's network. */
function checkMember(
  service: Service,
  name: string,
  nic: { readonly address: readonly string[] } | undefined,
  path: Path,
): readonly Fault[] {
  if (nic === undefined) {
    const write = `give ${name} a NIC on ${service.network}`;
    return [{ path, what: `member ${name} is not on network ${service.network}`, write }];
  }
  const families = nic.address.map((address) => address.includes(':'));
  return service.address.flatMap((address): Fault[] => {
    if (families.includes(address.includes(':'))) return [];
    const family = address.includes(':') ? 'IPv6' : 'IPv4';
    const what = `member ${name} has no ${family} address on ${service.network}, so it cannot answer for ${address}`;
    return [{ path, what, write: `give ${name} an ${family} address there` }];
  });
}

const httpPath = /^\/[\x21-\x7e]{0,1023}$/;

function checkHealth({ health }: Service, path: Path): readonly Fault[] {
  if (health === undefined) return [];
  const { tcp, http, script } = health;
  const ways = [tcp, http, script].filter((way) => way !== undefined).length;
  if (ways !== 1) {
    const what = ways === 0 ? 'health asks nothing' : 'health asks in more ways than one';
    const write = 'write {tcp: 80}, {http: 80, path: /healthz}, or {script: [/path/of/program]}';
    return [{ path, what, write }];
  }
  if (script !== undefined) return checkScript(script, health, path);
  if (health.user !== undefined) {
    const what = 'the agent itself asks by a connection, as no user';
    return [{ path: [...path, 'user'], what, write: 'leave user out, or write script:' }];
  }
  if (health.path === undefined) return [];
  const at = [...path, 'path'];
  if (http === undefined) {
    return [{ path: at, what: 'a connection has no path', write: 'write http: instead of tcp:' }];
  }
  if (httpPath.test(health.path)) return [];
  const what = `${health.path} cannot be asked for by GET`;
  return [{ path: at, what, write: 'write a path such as /healthz, without spaces' }];
}

const leastScriptEveryMs = 200;

function checkScript(
  [program = '']: readonly string[],
  { path: asked, every, user }: NonNullable<Service['health']>,
  path: Path,
): readonly Fault[] {
  const faults: Fault[] = [];
  if (!program.startsWith('/')) {
    const what = `${program} is no absolute path, and nothing is looked for in PATH`;
    const write = 'write the whole path, e.g. /usr/local/lib/check-db';
    faults.push({ path: [...path, 'script', 0], what, write });
  }
  if (asked !== undefined) {
    const write = 'make it an argument of the script';
    faults.push({ path: [...path, 'path'], what: 'a script has no path to ask for', write });
  }
  if (user === 'root') {
    const what = 'a health check never runs as root';
    const write = 'write a user that may do what the check needs and no more';
    faults.push({ path: [...path, 'user'], what, write });
  }
  if (every !== undefined && every < leastScriptEveryMs) {
    const what = `a process every ${every} ms for each member would keep a host busy with checks`;
    const write = `write ${leastScriptEveryMs}ms or more`;
    faults.push({ path: [...path, 'every'], what, write });
  }
  return faults;
}

/** Shorter steps would be over before every agent has heard of them. */
const leastSlowStartMs = 1_000;

function checkSlowStart({ slowStart, health, balance }: Service, path: Path): readonly Fault[] {
  if (slowStart === undefined) return [];
  if (health === undefined) {
    const what = 'without health checks nobody knows that a member is back';
    return [{ path, what, write: 'add health: {tcp: 80}, or leave slowStart out' }];
  }
  if (balance === 'none') {
    const what = 'where one member has all flows there is no share that could grow';
    return [{ path, what, write: 'leave slowStart out, or balance: none' }];
  }
  if (slowStart >= leastSlowStartMs) return [];
  return [{ path, what: `${slowStart} ms is no slow start`, write: 'write 1s or more' }];
}

/** On VXLAN a frame to the service is inside another one when the NIC gets it. */
function checkXdp({ network, xdp }: Service, file: ClusterFile, path: Path): readonly Fault[] {
  const fabric = file.networks.find(({ name }) => name === network)?.fabric;
  if (!xdp || fabric !== 'vxlan') return [];
  const what = `${network} is a vxlan network: XDP on the NIC cannot see what is inside`;
  return [{ path: [...path, 'xdp'], what, write: 'leave xdp out: tc does it' }];
}

/** Each is a role of its own, with a name, a vMAC and a next hop for each family. */
function checkDispatchers(service: Service, file: ClusterFile, path: Path): readonly Fault[] {
  const { name, mac, address, dispatchers } = service;
  if (dispatchers === undefined) return [];
  const at = [...path, 'dispatchers'];
  const faults: Fault[] = [];
  if (mac !== '') {
    const what = 'several dispatchers cannot have one MAC';
    faults.push({ path: [...path, 'mac'], what, write: 'leave mac out: each gets its own' });
  }
  if (dispatchers.length < 2 || dispatchers.length > mostDispatchers) {
    const what = `dispatchers are two to ${mostDispatchers} at once, not ${dispatchers.length}`;
    const write = 'write a next hop for each; a single dispatcher needs none';
    faults.push({ path: at, what, write });
  }
  const families = (addresses: readonly string[]) =>
    addresses
      .map((one) => (one.includes(':') ? 'IPv6' : 'IPv4'))
      .sort()
      .join(' and ');
  for (const [index, nextHops] of dispatchers.entries()) {
    if (families(nextHops) !== families(address)) {
      const what = `a dispatcher for ${families(address)} has next hops for ${families(nextHops)}`;
      faults.push({ path: [...at, index], what, write: 'write one of each family of address' });
    }
    const own = dispatcherName(name, index);
    if (file.services.some((other) => other.name === own)) {
      const what = `the dispatcher ${own} of ${name} is called as another service`;
      faults.push({ path: [...at, index], what, write: 'give that service another name' });
    }
  }
  const last = dispatcherName(name, dispatchers.length - 1);
  if (last.length > longestName) {
    const what = `${last} is a name of more than ${longestName} characters`;
    faults.push({ path: [...path, 'name'], what, write: 'write a shorter one' });
  }
  return faults;
}

/** Of a label: schema.ts. */
const longestName = 40;
const mostDispatchers = 8;

/** It remembers no flows, and is on the service's own NIC. */
function checkNftables({ dataPlane, xdp, udpSticky }: Service, path: Path): readonly Fault[] {
  if (dataPlane !== 'nftables') return [];
  const write = (key: string) => `leave ${key} out, or dataPlane: nftables`;
  const faults: Fault[] = [];
  if (xdp) {
    faults.push({ path: [...path, 'xdp'], what: 'XDP is BPF, not nftables', write: write('xdp') });
  }
  if (udpSticky !== undefined) {
    const what = 'nftables remembers no flows, so UDP cannot be sticky';
    faults.push({ path: [...path, 'udpSticky'], what, write: write('udpSticky') });
  }
  return faults;
}

function checkPorts({ name, ports }: Service, path: Path): readonly Fault[] {
  return ports.flatMap(({ protocol, port }, index): Fault[] => {
    const other = ports
      .slice(0, index)
      .find(
        (before) =>
          before.protocol === protocol &&
          before.port.first <= port.last &&
          port.first <= before.port.last,
      );
    if (other === undefined) return [];
    const what = `${protocol} port ${Math.max(port.first, other.port.first)} is in ${name} twice`;
    return [{ path: [...path, 'ports', index, 'port'], what, write: 'write each port once' }];
  });
}
