import { doubles, unknown } from './checks.js';
import type { Fault } from './parse.js';
import type { ClusterFile } from './schema.js';

/** What a lab's own section must agree on with the rest of the file. */
export function checkLab(file: ClusterFile): readonly Fault[] {
  const { lab } = file;
  if (lab === undefined) return [];
  const networks = file.networks.map(({ name }) => name);
  const taken = new Set([
    ...file.hosts.map(({ name }) => name),
    ...file.personalities.map(({ name }) => name),
  ]);
  const clients = lab.clients.flatMap(({ name, network }, index): Fault[] => {
    const path = ['lab', 'clients', index];
    const faults: Fault[] = [];
    if (!networks.includes(network))
      faults.push(unknown([...path, 'network'], 'network', network, networks));
    if (taken.has(name)) {
      const what = `${name} is the name of a host or personality too`;
      faults.push({ path: [...path, 'name'], what, write: 'give the client its own name' });
    }
    return faults;
  });
  const offered = new Set(
    lab.storage.flatMap(({ target, luns }) => luns.map(({ lun }) => `${target} ${lun}`)),
  );
  const missing = file.volumes.flatMap(({ name, target, lun, portals }, index): Fault[] => {
    if (portals.length > 0 || offered.has(`${target} ${lun}`)) return [];
    const what = `the lab offers no LUN ${lun} of ${target} for volume ${name}`;
    const write = `add {target: "${target}", luns: [{lun: ${lun}, size: 64MiB}]} to lab.storage`;
    return [{ path: ['volumes', index], what, write }];
  });
  return [
    ...clients,
    ...missing,
    ...doubles(
      lab.clients.map(({ name }, index) => ({
        value: name,
        path: ['lab', 'clients', index, 'name'],
      })),
      (name) => `two clients are called ${name}`,
      'give each its own name',
    ),
    ...doubles(
      lab.storage.map(({ target }, index) => ({
        value: target,
        path: ['lab', 'storage', index, 'target'],
      })),
      (target) => `target ${target} is there twice`,
      'list its LUNs in one place',
    ),
  ];
}
