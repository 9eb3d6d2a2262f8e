import {
  contains,
  isBroadcast,
  isNetworkAddress,
  overlaps,
  type Prefix,
  parseAddress,
  parsePrefix,
} from './addresses.js';
import { checkLab } from './lab-checks.js';
import { nearest } from './nearest.js';
import type { Fault } from './parse.js';
import type { ClusterFile } from './schema.js';

/** What needs two places of the file: references, doubles, ranges. One small function each. */
export function checkClusterFile(file: ClusterFile): readonly Fault[] {
  return [
    ...checkNames(file),
    ...checkControllers(file),
    ...checkTiming(file),
    ...checkHosts(file),
    ...checkNetworks(file),
    ...checkVolumes(file),
    ...checkPersonalities(file),
    ...checkStorageMaps(file),
    ...checkAddresses(file),
    ...checkServices(file),
    ...checkLab(file),
  ];
}

/** Tells the second and later of equal values. */
export function doubles<T>(
  items: readonly { readonly value: T; readonly path: Fault['path'] }[],
  what: (value: T) => string,
  write: string,
): readonly Fault[] {
  const seen = new Set<T>();
  return items.flatMap(({ value, path }) => {
    if (!seen.has(value)) {
      seen.add(value);
      return [];
    }
    return [{ path, what: what(value), write }];
  });
}

/** A name that refers to nothing, with the nearest that would. */
export function unknown(
  path: Fault['path'],
  kind: string,
  name: string,
  known: readonly string[],
): Fault {
  const close = nearest(name, known);
  return {
    path,
    what: `there is no ${kind} ${name}`,
    write:
      close === undefined ? `one of: ${known.join(', ') || 'none is defined'}` : `write ${close}`,
  };
}

function checkNames(file: ClusterFile): readonly Fault[] {
  const lists = ['hosts', 'networks', 'volumes', 'personalities', 'services'] as const;
  return lists.flatMap((list) =>
    doubles(
      file[list].map(({ name }, index) => ({ value: name, path: [list, index, 'name'] })),
      (name) => `two ${list} are called ${name}`,
      'give each its own name',
    ),
  );
}

function checkControllers(file: ClusterFile): readonly Fault[] {
  const names = file.hosts.map(({ name }) => name);
  const faults: Fault[] = file.controllers.flatMap((name, index) =>
    names.includes(name) ? [] : [unknown(['controllers', index], 'host', name, names)],
  );
  const count = file.controllers.length;
  if (![1, 3, 5].includes(count)) {
    faults.push({
      path: ['controllers'],
      what: `${count} controllers: ${count % 2 === 0 ? 'an even number survives no more failures than one less' : 'too many'}`,
      write: 'name 1, 3 or 5 hosts',
    });
  }
  return [
    ...faults,
    ...doubles(
      file.controllers.map((value, index) => ({ value, path: ['controllers', index] })),
      (name) => `${name} is named twice: a majority counts each controller once`,
      'name each host once',
    ),
  ];
}

function checkTiming({ timing }: ClusterFile): readonly Fault[] {
  const faults: Fault[] = [];
  if (timing.heartbeat < 5) {
    faults.push({
      path: ['timing', 'heartbeat'],
      what: `a heartbeat each ${timing.heartbeat} ms is more than the schedulers of hosts keep up with`,
      write: 'write 5ms or more; 50ms is the default',
    });
  }
  if (timing.lease < 3 * timing.heartbeat) {
    faults.push({
      path: ['timing', 'lease'],
      what: `a lease of ${timing.lease} ms is shorter than 3 heartbeats of ${timing.heartbeat} ms: one lost packet would end it`,
      write: `write at least ${3 * timing.heartbeat}ms`,
    });
  }
  return faults;
}

function checkHosts(file: ClusterFile): readonly Fault[] {
  const networks = file.networks.map(({ name }) => name);
  const inLab = file.lab !== undefined;
  const faults = file.hosts.flatMap((host, index): Fault[] => {
    const joins = host.joins.flatMap((name, at) =>
      networks.includes(name)
        ? []
        : [unknown(['hosts', index, 'joins', at], 'network', name, networks)],
    );
    if (host.address === '') {
      if (inLab) return joins;
      const what = `host ${host.name} has no address`;
      return [
        ...joins,
        { path: ['hosts', index], what, write: 'add address: its address on the internal network' },
      ];
    }
    if (parseAddress(host.address) !== undefined) return joins;
    const what = `${host.address} is no IP address`;
    return [...joins, { path: ['hosts', index, 'address'], what, write: 'write e.g. 10.66.0.1' }];
  });
  if (!inLab && file.store.endpoints.length === 0) {
    faults.push({
      path: ['store'],
      what: 'no etcd is named',
      write: 'add store: {endpoints: ["http://10.66.0.1:2379"]}',
    });
  }
  return [
    ...faults,
    ...doubles(
      file.hosts.flatMap(({ address }, index) =>
        address === '' ? [] : [{ value: address, path: ['hosts', index, 'address'] }],
      ),
      (address) => `two hosts have the address ${address}`,
      'give each its own',
    ),
  ];
}

const largestId = { vlan: 4_094, vxlan: 16_777_215 } as const;

function checkNetworks(file: ClusterFile): readonly Fault[] {
  const faults: Fault[] = [];
  const prefixes: { readonly name: string; readonly prefix: Prefix }[] = [];
  for (const [index, network] of file.networks.entries()) {
    const { fabric, id, name } = network;
    if (fabric === 'untagged' && id !== 0) {
      faults.push({
        path: ['networks', index, 'id'],
        what: 'an untagged network has no id',
        write: 'leave id out',
      });
    }
    const most = fabric === 'vxlan' ? largestId.vxlan : largestId.vlan;
    if (fabric !== 'untagged' && (id < 1 || id > most)) {
      const kind = fabric === 'vxlan' ? 'VNI' : 'VLAN ID';
      faults.push({
        path: ['networks', index, ...(id === 0 ? [] : ['id'])],
        what: id === 0 ? `network ${name} has no id` : `${id} is no ${kind}`,
        write: `write a ${kind} from 1 to ${most}`,
      });
    }
    if (fabric === 'vlan' && network.gateways.length > 0) {
      faults.push({
        path: ['networks', index, 'gateways'],
        what: 'gateways are learning VTEPs: only a vxlan network has them',
        write: 'leave gateways out',
      });
    }
    for (const [at, gateway] of network.gateways.entries()) {
      if (parseAddress(gateway) !== undefined) continue;
      const what = `${gateway} is no IP address`;
      faults.push({
        path: ['networks', index, 'gateways', at],
        what,
        write: 'write an underlay address',
      });
    }
    for (const subnet of network.subnet) {
      const path = ['networks', index, 'subnet'];
      const prefix = parsePrefix(subnet);
      if (prefix === undefined || !isNetworkAddress(prefix)) {
        const what = `${subnet} is no subnet`;
        faults.push({
          path,
          what,
          write: 'write a network address with its length, e.g. 10.10.0.0/24',
        });
        continue;
      }
      const other = prefixes.find((one) => overlaps(one.prefix, prefix));
      if (other !== undefined) {
        const what = `${subnet} overlaps a subnet of ${other.name}`;
        faults.push({ path, what, write: 'give each network a subnet of its own' });
      }
      prefixes.push({ name, prefix });
    }
    const families = network.subnet.map((subnet) => subnet.includes(':'));
    if (families.length === 2 && families[0] === families[1]) {
      const what = 'two subnets of one address family';
      faults.push({
        path: ['networks', index, 'subnet'],
        what,
        write: 'write one IPv4 and one IPv6 subnet',
      });
    }
  }
  return [
    ...faults,
    ...doubles(
      file.networks.flatMap(({ fabric, id }, index) =>
        fabric === 'untagged'
          ? []
          : [{ value: `${fabric} ${id}`, path: ['networks', index, 'id'] }],
      ),
      (key) => `two networks are ${key}`,
      'give each network its own id',
    ),
  ];
}

function checkVolumes(file: ClusterFile): readonly Fault[] {
  const faults: Fault[] = [];
  for (const [index, { name, portals }] of file.volumes.entries()) {
    if (portals.length === 0 && file.lab === undefined) {
      const what = `volume ${name} has no portal`;
      faults.push({ path: ['volumes', index], what, write: 'add portals: [10.77.0.1:3260]' });
    }
    for (const [at, portal] of portals.entries()) {
      const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(portal);
      const address = match?.[1] ?? match?.[2];
      const port = Number(match?.[3]);
      if (
        address !== undefined &&
        parseAddress(address) !== undefined &&
        port >= 1 &&
        port <= 65_535
      )
        continue;
      const what = `${portal} is no portal`;
      faults.push({
        path: ['volumes', index, 'portals', at],
        what,
        write: 'write address:port, e.g. 10.77.0.1:3260 or [fd00::1]:3260',
      });
    }
  }
  return [
    ...faults,
    ...doubles(
      file.volumes.map(({ target, lun }, index) => ({
        value: `${target} LUN ${lun}`,
        path: ['volumes', index],
      })),
      (key) => `two volumes are ${key}`,
      'a LUN is one volume: name it once',
    ),
  ];
}

function checkPersonalities(file: ClusterFile): readonly Fault[] {
  const pools = [...new Set(file.hosts.flatMap(({ pool }) => pool ?? []))];
  const networks = file.networks.map(({ name }) => name);
  return file.personalities.flatMap((personality, index): Fault[] => {
    const path = ['personalities', index];
    const faults: Fault[] = [];
    if (!pools.includes(personality.pool))
      faults.push(unknown([...path, 'pool'], 'host in pool', personality.pool, pools));
    for (const [at, nic] of personality.networks.entries()) {
      if (networks.includes(nic.network)) continue;
      faults.push(unknown([...path, 'networks', at, 'network'], 'network', nic.network, networks));
    }
    for (const [at, { to, via }] of personality.routes.entries()) {
      if (to !== 'default' && parsePrefix(to) === undefined) {
        faults.push({
          path: [...path, 'routes', at, 'to'],
          what: `${to} is no prefix`,
          write: 'write default or e.g. 10.20.0.0/16',
        });
      }
      if (parseAddress(via) === undefined) {
        faults.push({
          path: [...path, 'routes', at, 'via'],
          what: `${via} is no IP address`,
          write: 'write the next hop, e.g. 10.10.0.1',
        });
      }
    }
    return [
      ...faults,
      ...doubles(
        personality.networks.map((nic, at) => ({
          value: nic.network,
          path: [...path, 'networks', at],
        })),
        (name) => `${personality.name} is twice on network ${name}`,
        'one NIC a network; give it several addresses',
      ),
    ];
  });
}

function checkStorageMaps(file: ClusterFile): readonly Fault[] {
  const names = file.volumes.map(({ name }) => name);
  const maps = file.personalities.flatMap((personality, index) =>
    personality.storage.map((entry, at) => ({
      entry,
      path: ['personalities', index, 'storage', at],
    })),
  );
  const perPersonality = file.personalities.flatMap((personality, index) => [
    ...doubles(
      personality.storage.map(({ lun }, at) => ({
        value: lun,
        path: ['personalities', index, 'storage', at, 'lun'],
      })),
      (lun) => `two disks of ${personality.name} are virtual LUN ${lun}`,
      'number them 0, 1, …',
    ),
    ...doubles(
      personality.storage.map(({ mount }, at) => ({
        value: mount,
        path: ['personalities', index, 'storage', at, 'mount'],
      })),
      (mount) => `two disks of ${personality.name} are mounted at ${mount}`,
      'give each its own path',
    ),
  ]);
  return [
    ...maps.flatMap(({ entry, path }) =>
      names.includes(entry.volume)
        ? []
        : [unknown([...path, 'volume'], 'volume', entry.volume, names)],
    ),
    ...perPersonality,
    ...doubles(
      maps.map(({ entry, path }) => ({ value: entry.volume, path: [...path, 'volume'] })),
      (volume) => `volume ${volume} belongs to two personalities: it would have two writers`,
      'give each personality a volume of its own',
    ),
  ];
}

/** Every address on a virtual LAN, with where the file says it. */
function claimed(file: ClusterFile) {
  return [
    ...file.personalities.flatMap((personality, index) =>
      personality.networks.flatMap((nic, at) =>
        nic.address.map((text) => ({
          text,
          network: nic.network,
          path: ['personalities', index, 'networks', at, 'address'],
          withLength: true,
        })),
      ),
    ),
    ...file.services.flatMap((service, index) =>
      service.address.map((text) => ({
        text,
        network: service.network,
        path: ['services', index, 'address'],
        withLength: false,
      })),
    ),
    ...(file.lab?.clients ?? []).flatMap((client, index) =>
      client.address.map((text) => ({
        text,
        network: client.network,
        path: ['lab', 'clients', index, 'address'],
        withLength: true,
      })),
    ),
  ];
}

function checkAddresses(file: ClusterFile): readonly Fault[] {
  const faults = claimed(file).flatMap(({ text, network: name, path, withLength }): Fault[] => {
    const network = file.networks.find((found) => found.name === name);
    if (network === undefined) return []; // told elsewhere
    const prefix = withLength ? parsePrefix(text) : undefined;
    const address = withLength ? prefix?.bytes : parseAddress(text);
    const example = withLength ? '10.10.0.11/24' : '10.10.0.100';
    if (address === undefined)
      return [{ path, what: `${text} is no address here`, write: `write e.g. ${example}` }];
    const subnets = network.subnet.flatMap((subnet) => parsePrefix(subnet) ?? []);
    const subnet = subnets.find((one) => contains(one, address));
    if (subnet === undefined) {
      const what = `${text} is outside network ${name}`;
      return [{ path, what, write: `an address in ${network.subnet.join(' or ')}` }];
    }
    if (prefix !== undefined && prefix.bits !== subnet.bits) {
      const what = `${text} has another length than its subnet`;
      return [{ path, what, write: `${text.split('/')[0]}/${subnet.bits}` }];
    }
    const first =
      address.length === 4 &&
      subnet.bits < 31 &&
      address.every((octet, at) => octet === subnet.bytes[at]);
    if (first || isBroadcast(subnet, address)) {
      const what = `${text} is the ${first ? 'network' : 'broadcast'} address of its subnet`;
      return [{ path, what, write: 'write an address of a host' }];
    }
    return [];
  });
  const macs = [
    ...file.personalities.flatMap(({ networks }, index) =>
      networks.map(({ mac }, at) => ({
        value: mac,
        path: ['personalities', index, 'networks', at, 'mac'],
      })),
    ),
    ...file.services.map(({ mac }, index) => ({ value: mac, path: ['services', index, 'mac'] })),
  ].filter(({ value }) => value !== '');
  return [
    ...faults,
    ...doubles(
      claimed(file).map(({ text, path }) => ({ value: text.split('/')[0] ?? '', path })),
      (address) => `${address} is given twice`,
      'give each its own address',
    ),
    ...doubles(
      macs,
      (value) => `MAC ${value} is given twice`,
      'give each its own, or leave it out',
    ),
    ...macs.flatMap(({ value, path }): Fault[] => {
      const first = Number.parseInt(value.slice(0, 2), 16);
      if ((first & 1) === 1)
        return [
          { path, what: `${value} is a multicast MAC`, write: 'an even first byte, e.g. 02:…' },
        ];
      if ((first & 2) === 0) {
        return [
          {
            path,
            what: `${value} is a globally assigned MAC`,
            write: 'a locally administered one, e.g. 02:…',
          },
        ];
      }
      return [];
    }),
  ];
}

function checkServices(file: ClusterFile): readonly Fault[] {
  const networks = file.networks.map(({ name }) => name);
  const names = file.personalities.map(({ name }) => name);
  const pools = [...new Set(file.hosts.flatMap(({ pool }) => pool ?? []))];
  return file.services.flatMap((service, index): Fault[] => {
    const path = ['services', index];
    const faults: Fault[] = [];
    if (!networks.includes(service.network))
      faults.push(unknown([...path, 'network'], 'network', service.network, networks));
    if (!pools.includes(service.pool))
      faults.push(unknown([...path, 'pool'], 'host in pool', service.pool, pools));
    const members = service.members.map((member) =>
      typeof member === 'string' ? member : member.personality,
    );
    for (const [at, name] of members.entries()) {
      const personality = file.personalities.find((found) => found.name === name);
      if (personality === undefined) {
        faults.push(unknown([...path, 'members', at], 'personality', name, names));
      } else if (!personality.networks.some(({ network }) => network === service.network)) {
        const what = `member ${name} is not on network ${service.network}`;
        faults.push({
          path: [...path, 'members', at],
          what,
          write: `give ${name} a NIC on ${service.network}`,
        });
      }
    }
    return [
      ...faults,
      ...doubles(
        members.map((value, at) => ({ value, path: [...path, 'members', at] })),
        (name) => `${name} is twice a member of ${service.name}`,
        'name it once, with a weight',
      ),
    ];
  });
}
