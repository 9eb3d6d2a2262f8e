import type { Fault } from './faults.js';
import type { ClusterFile } from './schema.js';

/** What is allowed and yet probably not meant. The file stands. */
export function warningsOf(file: ClusterFile): readonly Fault[] {
  return [...spareless(file), ...silent(file), ...unused(file), ...unfenced(file)];
}

/** N + 1: losing one host should leave a host for each personality. */
function spareless(file: ClusterFile): readonly Fault[] {
  const pools = [...new Set(file.personalities.map(({ pool }) => pool))];
  return pools.flatMap((pool): Fault[] => {
    const hosts = file.hosts.filter((host) => host.pool === pool).length;
    const personalities = file.personalities.filter((one) => one.pool === pool).length;
    if (hosts > personalities) return [];
    const index = file.personalities.findIndex((one) => one.pool === pool);
    const what =
      hosts === 1
        ? `pool ${pool} has one host: when it fails, nothing can take over`
        : `pool ${pool} has ${hosts} hosts for ${personalities} personalities and so no spare: after a failure two share a host`;
    const write = `have ${personalities + 1} hosts in ${pool}, or accept that`;
    return [{ path: ['personalities', index, 'pool'], what, write }];
  });
}

function silent({ services }: ClusterFile): readonly Fault[] {
  return services.flatMap(({ name, members }, index): Fault[] => {
    if (!members.every((member) => typeof member !== 'string' && member.weight === 0)) return [];
    const what = `no member of ${name} has a weight: new clients get no answer`;
    return [
      { path: ['services', index, 'members'], what, write: 'give one a weight of 1 or more' },
    ];
  });
}

function unused({ volumes, personalities }: ClusterFile): readonly Fault[] {
  const used = new Set(personalities.flatMap(({ storage }) => storage.map(({ volume }) => volume)));
  return volumes.flatMap(({ name }, index): Fault[] => {
    if (used.has(name)) return [];
    const write = 'add it to the storage of a personality, or leave it out';
    return [{ path: ['volumes', index], what: `volume ${name} belongs to nobody`, write }];
  });
}

/** Where nothing proves that a failed host is silent, nothing is taken over by itself. */
function unfenced({ fencing, controllers, hosts, personalities }: ClusterFile): readonly Fault[] {
  if (fencing.enforce ?? controllers.length > 1) return [];
  const pools = new Set(personalities.map(({ pool }) => pool));
  const bare = hosts.filter(({ pool, power }) => power === undefined && pools.has(pool ?? ''));
  if (bare.length === 0) return [];
  const names = bare.map(({ name }) => name).join(', ');
  const what = `leases are not enforced here, and nothing can switch off ${names}: when one fails, a person must say that it is off`;
  const write =
    'name 3 controllers, add power: to hosts, write fencing: {enforce: true}, or accept it';
  return [{ path: ['controllers'], what, write }];
}
