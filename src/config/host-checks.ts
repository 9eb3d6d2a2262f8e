import { canonical, isHostAddress, parseAddress } from './addresses.js';
import { doubles, type Fault, type Path, unknown } from './faults.js';
import type { ClusterFile } from './schema.js';

/** Each list has its own names. */
export function checkNames(file: ClusterFile): readonly Fault[] {
  const lists = ['hosts', 'networks', 'volumes', 'personalities', 'services'] as const;
  return lists.flatMap((list) =>
    doubles(
      file[list].map(({ name }, index) => ({ value: name, path: [list, index, 'name'] })),
      (name) => `two ${list} are called ${name}`,
      'give each its own name',
    ),
  );
}

export function checkControllers(file: ClusterFile): readonly Fault[] {
  const names = file.hosts.map(({ name }) => name);
  const faults: Fault[] = file.controllers.flatMap((name, index) =>
    names.includes(name) ? [] : [unknown(['controllers', index], 'host', name, names)],
  );
  const count = file.controllers.length;
  if (![1, 3, 5].includes(count)) {
    const why =
      count % 2 === 0 ? 'an even number survives no more failures than one less' : 'too many';
    faults.push({
      path: ['controllers'],
      what: `${count} controllers: ${why}`,
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

export function checkTiming({ timing }: ClusterFile): readonly Fault[] {
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
      write: `write ${3 * timing.heartbeat}ms or more`,
    });
  }
  return faults;
}

/** A lab starts an etcd of its own. */
export function checkStore(file: ClusterFile): readonly Fault[] {
  if (file.lab !== undefined || file.store.endpoints.length > 0) {
    return doubles(
      file.store.endpoints.map((value, index) => ({ value, path: ['store', 'endpoints', index] })),
      (endpoint) => `${endpoint} is named twice`,
      'name each member of etcd once',
    );
  }
  const write = 'add store: {endpoints: ["http://10.66.0.1:2379"]}';
  return [{ path: ['store'], what: 'no etcd is named', write }];
}

export function checkHosts(file: ClusterFile): readonly Fault[] {
  const networks = file.networks.map(({ name }) => name);
  const faults = file.hosts.flatMap((host, index): Fault[] => [
    ...checkHostAddress(host, ['hosts', index], file.lab !== undefined),
    ...host.joins.flatMap((name, at) =>
      networks.includes(name)
        ? []
        : [unknown(['hosts', index, 'joins', at], 'network', name, networks)],
    ),
    ...checkPower(host, ['hosts', index, 'power', 'options']),
  ]);
  return [
    ...faults,
    ...doubles(
      file.hosts.flatMap(({ address }, index) => {
        if (parseAddress(address) === undefined) return [];
        return [{ value: canonical(address), path: ['hosts', index, 'address'] }];
      }),
      (address) => `two hosts have the address ${address}`,
      'give each host its own',
    ),
  ];
}

/** Options that carry a secret, which the store would keep, or that the product itself gives. */
const ownOptions: Readonly<Record<string, string>> = {
  action: 'write action: beside options',
  password: 'put it into a file (0600) on each controller and write passwordFile: its path',
  passwd: 'put it into a file (0600) on each controller and write passwordFile: its path',
};

function checkPower({ power }: ClusterFile['hosts'][number], path: Path): readonly Fault[] {
  return Object.keys(power?.options ?? {}).flatMap((name): Fault[] => {
    const write = ownOptions[name];
    if (write === undefined) return [];
    return [{ path: [...path, name], what: `${name} does not belong here`, write }];
  });
}

function checkHostAddress(
  { name, address }: ClusterFile['hosts'][number],
  path: Path,
  inLab: boolean,
): readonly Fault[] {
  if (address === '') {
    const write = 'add address: its address on the internal network';
    return inLab ? [] : [{ path, what: `host ${name} has no address`, write }];
  }
  const bytes = parseAddress(address);
  if (bytes !== undefined && isHostAddress(address)) return [];
  const why = bytes === undefined ? 'is no IP address' : 'cannot be the address of a host';
  return [{ path: [...path, 'address'], what: `${address} ${why}`, write: 'write e.g. 10.66.0.1' }];
}
