import { doubles, type Fault, unknown } from './faults.js';
import type { ClusterFile } from './schema.js';

/** Nodes that every lab has besides hosts and clients. */
const labNodes = /^(?:sw|ctl|storage|etcd[1-3]|edge-.*)$/;

/** What a lab's own section must agree on with the rest of the file. */
export function checkLab(file: ClusterFile): readonly Fault[] {
  const { lab } = file;
  if (lab === undefined) return [];
  return [
    ...checkNodes(file),
    ...checkOffers(file),
    ...lab.clients.flatMap(({ network }, index): Fault[] => {
      const networks = file.networks.map(({ name }) => name);
      if (networks.includes(network)) return [];
      return [unknown(['lab', 'clients', index, 'network'], 'network', network, networks)];
    }),
  ];
}

/** `lab exec NODE` takes a host, a client or a personality: a name must be one of them only. */
function checkNodes(file: ClusterFile): readonly Fault[] {
  const named = [
    ...file.hosts.map(({ name }, index) => ({ name, path: ['hosts', index, 'name'] })),
    ...file.personalities.map(({ name }, index) => ({
      name,
      path: ['personalities', index, 'name'],
    })),
    ...(file.lab?.clients ?? []).map(({ name }, index) => ({
      name,
      path: ['lab', 'clients', index, 'name'],
    })),
  ];
  return [
    ...doubles(
      // Two of one list are told by checkNames; clients have no list there.
      named.flatMap(({ name, path }, index) => {
        const [list] = path;
        const again = named
          .slice(0, index)
          .some((one) => one.name === name && one.path[0] === list);
        return again && list !== 'lab' ? [] : [{ value: name, path }];
      }),
      (name) => `two nodes of the lab are called ${name}`,
      'give hosts, personalities and clients names of their own',
    ),
    ...named.flatMap(({ name, path }): Fault[] => {
      if (!labNodes.test(name)) return [];
      return [{ path, what: `${name} is a node of every lab`, write: 'choose another name' }];
    }),
  ];
}

/** What the lab's iSCSI target offers, and that each volume without a portal is among it. */
function checkOffers(file: ClusterFile): readonly Fault[] {
  const storage = file.lab?.storage ?? [];
  const offered = new Set(
    storage.flatMap(({ target, luns }) => luns.map(({ lun }) => `${target} ${lun}`)),
  );
  const missing = file.volumes.flatMap(({ name, target, lun, portals }, index): Fault[] => {
    if (portals.length > 0 || offered.has(`${target} ${lun}`)) return [];
    const what = `the lab offers no LUN ${lun} of ${target} for volume ${name}`;
    const write = `add {target: "${target}", luns: [{lun: ${lun}, size: 64MiB}]} to lab.storage`;
    return [{ path: ['volumes', index], what, write }];
  });
  return [
    ...missing,
    ...doubles(
      storage.map(({ target }, index) => ({
        value: target,
        path: ['lab', 'storage', index, 'target'],
      })),
      (target) => `target ${target} is there twice`,
      'list its LUNs in one place',
    ),
    ...storage.flatMap(({ target, luns }, index) =>
      doubles(
        luns.map(({ lun }, at) => ({
          value: lun,
          path: ['lab', 'storage', index, 'luns', at, 'lun'],
        })),
        (lun) => `${target} has LUN ${lun} twice`,
        'number its LUNs 1, 2, …',
      ),
    ),
  ];
}
