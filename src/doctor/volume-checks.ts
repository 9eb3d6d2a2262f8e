import type { ClusterConfig } from '../config/types.js';
import { sharedTargets } from '../storage/mask-orders.js';
import { known } from './cluster-checks.js';
import type { ClusterFacts } from './facts.js';
import { type Check, notApplicable, ok, problem, warning } from './types.js';

/** iSCSI volumes, and what fences them. */
export const volumeChecks: readonly Check<ClusterFacts>[] = [
  {
    id: 'volume-portals',
    title: 'portals',
    judge: (facts) =>
      known(facts, ({ config }) => {
        if (config.volumes.length === 0) return notApplicable('no volume is defined');
        if (facts.portals.length === 0) return notApplicable('no host can be asked from here');
        const away = facts.portals.filter(({ answers }) => !answers);
        return away.length === 0
          ? ok(`${facts.portals.length} answer`)
          : problem(
              `no answer from ${away.map(({ portal, from }) => `${portal} asked by ${from}`).join(', ')}`,
              'see the storage network and the iSCSI target',
            );
      }),
  },
  {
    id: 'volume-mask',
    title: 'target daemon',
    judge: (facts) =>
      known(facts, ({ view, config }) => {
        const used = fencedBy(config, 'mask');
        if (used.length === 0)
          return notApplicable('no personality has a volume that a mask fences');
        const late = used.flatMap(({ name, volume }) => {
          const { target } = volume;
          const epoch = view.assignments.get(`personality/${name}`)?.value.epoch;
          const mask = view.masks.get(target)?.value;
          if (mask?.error !== undefined) return [`${target}: ${mask.error}`];
          return mask?.epoch === epoch && mask?.personality === name
            ? []
            : [`${target} is at epoch ${mask?.epoch ?? 'none'}, ${name} at ${epoch ?? 'none'}`];
        });
        return late.length === 0
          ? ok('every mask is of its owner’s epoch')
          : problem(
              late.join('; '),
              'see that understudy target runs beside the iSCSI target and reaches etcd: without it no volume fails over',
            );
      }),
  },
  {
    id: 'volume-shared',
    title: 'a target for each owner',
    judge: (facts) =>
      known(facts, ({ config }) => {
        const shared = [...sharedTargets(config)];
        if (config.volumes.length === 0) return notApplicable('no volume is defined');
        return shared.length === 0
          ? ok('no target is shared')
          : problem(
              shared
                .map(([target, owners]) => `${target} is shared by ${owners.join(', ')}`)
                .join('; '),
              'a target of its own for each: masks are by target, so these are not fenced',
            );
      }),
  },
  {
    id: 'volume-serial',
    title: 'identity of volumes',
    judge: (facts) =>
      known(facts, ({ view, config }) => {
        if (config.volumes.length === 0) return notApplicable('no volume is defined');
        const used = new Set(
          config.personalities.flatMap(({ storage }) => storage.map(({ volume }) => volume)),
        );
        const unknown = [...used].filter((volume) => !view.volumes.has(volume));
        return unknown.length === 0
          ? ok('every serial is recorded')
          : warning(
              `no serial recorded of ${unknown.join(', ')}: another LUN in its place would not be noticed`,
              'nothing: it is recorded at the first attach',
            );
      }),
  },
  {
    id: 'volume-reservations',
    title: 'reservations',
    judge: (facts) =>
      known(facts, ({ view, config }) => {
        const used = fencedBy(config, 'reservation');
        if (used.length === 0) return notApplicable('no volume is fenced by a reservation');
        const without = used.flatMap(({ name, volume }) => {
          const owner = view.assignments.get(`personality/${name}`)?.value;
          if (owner === undefined || owner.host === null) return [];
          const report = view.reports
            .get(owner.host)
            ?.value.personalities.find((one) => one.name === name && one.epoch === owner.epoch);
          const held = report?.volumes.find((one) => one.name === volume.name)?.reservation;
          if (held !== undefined) return [];
          return [`${volume.name}, for ${name} on ${owner.host}: ${report?.detail || 'not taken'}`];
        });
        return without.length === 0
          ? ok('every owner holds those of its volumes')
          : problem(
              without.join('; '),
              'see what the target says; on LIO set enforce_pr_isids of the backstore to 0',
            );
      }),
  },
  {
    id: 'volume-format',
    title: 'formatting',
    judge: (facts) =>
      known(facts, ({ config }) => {
        const blank = config.volumes.filter(({ format }) => format === 'if-blank');
        if (config.volumes.length === 0) return notApplicable('no volume is defined');
        return blank.length === 0
          ? ok('no volume is ever formatted')
          : ok(`only if blank: ${blank.map(({ name }) => name).join(', ')}`);
      }),
  },
];

/** Volumes that a personality has, and whose. */
function fencedBy({ personalities, volumes }: ClusterConfig, how: 'mask' | 'reservation') {
  return personalities.flatMap(({ name, storage }) =>
    storage.flatMap((entry) => {
      const volume = volumes.find((one) => one.name === entry.volume);
      return volume !== undefined && (volume.fence ?? 'mask') === how ? [{ name, volume }] : [];
    }),
  );
}
