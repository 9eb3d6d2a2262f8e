import type { ClusterConfig } from '../config/types.js';
import type { Status } from '../control/status.js';
import { timelinesOf } from '../control/timeline.js';
import { configOf, type View } from '../control/view.js';
import { standingVotes } from '../control/votes.js';
import type { ClusterFacts } from './facts.js';
import { spare } from './spare.js';
import { type Check, type Finding, notApplicable, ok, problem, warning } from './types.js';

const recentFailovers = 10;

interface Known {
  readonly view: View;
  readonly config: ClusterConfig;
  readonly status: Status;
}

/** Hosts, controllers, roles, services. */
export const clusterChecks: readonly Check<ClusterFacts>[] = [
  {
    id: 'cluster-defined',
    title: 'definition',
    judge: ({ view, storeTrouble }) => {
      if (storeTrouble !== undefined || view === undefined)
        return notApplicable('the store gave no answer');
      const generation = view.config?.value.generation;
      return generation === undefined
        ? problem('no cluster file has been applied', 'understudy apply FILE')
        : ok(`generation ${generation}`);
    },
  },
  {
    id: 'cluster-leader',
    title: 'leader',
    judge: (facts) =>
      known(facts, () =>
        facts.leader === undefined
          ? problem(
              'nobody is leader: nothing is placed or moved on purpose; failovers go on',
              'see that agents run on the controllers and reach etcd',
            )
          : ok(facts.leader),
      ),
  },
  {
    id: 'cluster-controllers',
    title: 'number of controllers',
    judge: (facts) =>
      known(facts, ({ config }) =>
        config.controllers.length > 1
          ? ok(
              `${config.controllers.length}: ${Math.floor((config.controllers.length - 1) / 2)} may fail`,
            )
          : warning(
              'one: its loss stops every failover, and leases are not enforced by default',
              'three controllers',
            ),
      ),
  },
  {
    id: 'cluster-controllers-change',
    title: 'change of controllers',
    judge: (facts) =>
      known(facts, ({ status: { controllersChange: change } }) =>
        change === null
          ? ok('none under way')
          : warning(
              `to ${change.to.join(', ')}, ${change.phase}: ${change.reason}`,
              change.from === null
                ? 'it takes a second; if it stays so, see agent and pulse of those hosts'
                : `it takes a few seconds; if it stays so, see agent and pulse of those hosts, or go back: apply the file that names ${change.from.join(', ')}`,
            ),
      ),
  },
  {
    id: 'cluster-granting',
    title: 'controllers grant leases',
    judge: (facts) =>
      known(facts, ({ status }) => {
        const idle = status.hosts.filter(({ controller, granting }) => controller && !granting);
        return idle.length === 0
          ? ok('all of them')
          : problem(
              `not yet, or no longer: ${namesOf(idle)}`,
              'if it stays so: systemctl status understudy-agent understudy-pulse there',
            );
      }),
  },
  {
    id: 'cluster-hosts',
    title: 'hosts up',
    judge: (facts) =>
      known(facts, ({ status }) => {
        const down = status.hosts.filter(({ state }) => state !== 'up' && state !== 'drained');
        return down.length === 0
          ? ok(`all ${status.hosts.length}`)
          : problem(
              down.map(({ name, state }) => `${name} is ${state}`).join(', '),
              'power it on, see its network, its agent and its pulse; it comes back as a spare',
            );
      }),
  },
  {
    id: 'cluster-drained',
    title: 'hosts in maintenance',
    judge: (facts) =>
      known(facts, ({ view }) =>
        view.drained.size === 0
          ? ok('none')
          : warning(
              `drained: ${[...view.drained.keys()].join(', ')}`,
              'understudy undrain HOST when done',
            ),
      ),
  },
  {
    id: 'cluster-votes',
    title: 'votes standing',
    judge: (facts) =>
      known(facts, ({ view, config }) => {
        const voted = config.hosts.flatMap(({ name }) => {
          const incarnation = view.hosts.get(name)?.value.incarnation;
          if (incarnation === undefined || view.retired.has(`${name}/${incarnation}`)) return [];
          const votes = standingVotes(view, name, incarnation);
          return votes.length === 0
            ? []
            : [`${name}/${incarnation} by ${votes.map(({ controller }) => controller).join(', ')}`];
        });
        return voted.length === 0
          ? ok('none')
          : problem(
              `against ${voted.join('; ')}: it gets nothing, and one vote more may end it`,
              'see the network between them; understudy events tells when',
            );
      }),
  },
  {
    id: 'cluster-spare',
    title: 'spare capacity',
    judge: (facts) => known(facts, ({ view, config, status }) => spare(view, config, status)),
  },
  {
    id: 'cluster-roles',
    title: 'roles run',
    judge: (facts) =>
      known(facts, ({ status }) => {
        const troubled = [
          ...status.personalities.map(({ name, phase, reason }) => ({ name, phase, reason })),
          ...status.services.map(({ name, phase }) => ({ name, phase, reason: '' })),
        ].filter(({ phase }) => phase !== 'running');
        return troubled.length === 0
          ? ok(`${status.personalities.length} personalities, ${status.services.length} services`)
          : problem(
              troubled
                .map(({ name, phase, reason }) => `${name} is ${phase}${reason && `: ${reason}`}`)
                .join('; '),
              'understudy status, understudy events',
            );
      }),
  },
  {
    id: 'cluster-failovers',
    title: 'latest failovers',
    judge: (facts) =>
      known(facts, ({ view }) => {
        const latest = timelinesOf(view).slice(0, recentFailovers);
        const bad = latest.filter(({ outcome }) => outcome === 'failed');
        if (latest.length === 0) return notApplicable('none yet');
        return bad.length === 0
          ? ok(`${latest.length}, none failed`)
          : warning(
              `not in order: ${bad.map(({ id }) => id).join(', ')}`,
              `understudy failovers ${bad[0]?.id} tells which step`,
            );
      }),
  },
  {
    id: 'cluster-fencing',
    title: 'owners can be proven silent',
    judge: (facts) =>
      known(facts, ({ view, config }) => {
        const open = config.hosts.filter(({ name, power }) => {
          const record = view.hosts.get(name)?.value;
          return record !== undefined && !record.enforced && power === null;
        });
        return open.length === 0
          ? ok('by the lease in the kernel, or by power')
          : warning(
              `neither enforced lease nor power for ${namesOf(open)}: its failover waits for a person`,
              'three controllers (then leases are enforced), or power: for these hosts',
            );
      }),
  },
  {
    id: 'cluster-members',
    title: 'members of services',
    judge: (facts) =>
      known(facts, ({ status }) => {
        const faults = status.services.flatMap(({ name, members }) => {
          const up = members.filter(({ health }) => health === 'up');
          const why = members
            .flatMap((one) => (one.health === 'up' ? [] : `${one.personality}: ${one.reason}`))
            .join(', ');
          if (up.length === 0)
            return [problem(`${name} has no member that is up (${why})`, 'mend them')];
          return up.length === 1
            ? [
                warning(
                  `${name} has one member that is up${why === '' ? '' : ` (${why})`}`,
                  'a second member, or mend those that are down',
                ),
              ]
            : [];
        });
        return worst(faults) ?? emptyOr(status.services, 'two or more up in each');
      }),
  },
  {
    id: 'cluster-together',
    title: 'members apart',
    judge: (facts) =>
      known(facts, ({ status }) => {
        const hostOf = new Map(status.personalities.map(({ name, host }) => [name, host]));
        const together = status.services.filter(({ members }) => {
          const hosts = members.flatMap(({ personality }) => hostOf.get(personality) ?? []);
          return hosts.length > 1 && new Set(hosts).size === 1;
        });
        return together.length === 0
          ? emptyOr(status.services, 'no service has all of its members on one host')
          : warning(
              `all members on one host: ${namesOf(together)}`,
              'understudy move PERSONALITY to another host',
            );
      }),
  },
  {
    id: 'cluster-versions',
    title: 'versions of agents',
    judge: (facts) =>
      known(facts, ({ view }) => {
        const versions = new Map<string, string[]>();
        for (const [host, { value }] of view.features) {
          const version = value.version ?? 'before 0.2';
          versions.set(version, [...(versions.get(version) ?? []), host]);
        }
        const text = [...versions]
          .map(([version, hosts]) => `${version} on ${hosts.join(', ')}`)
          .join('; ');
        return versions.size <= 1
          ? ok(text)
          : warning(
              text,
              'finish the upgrade: one host after the other, controllers one at a time',
            );
      }),
  },
  {
    id: 'cluster-vlan',
    title: '802.1Q on every host',
    judge: (facts) =>
      known(facts, ({ view, config }) => {
        if (!config.networks.some(({ fabric }) => fabric === 'vlan')) {
          return notApplicable('no network of fabric vlan');
        }
        const lacking = config.hosts.filter(
          ({ name }) => view.features.get(name)?.value.vlan === false,
        );
        return lacking.length === 0
          ? ok('every kernel has it')
          : problem(`not in the kernel of ${namesOf(lacking)}`, 'modprobe 8021q there');
      }),
  },
];

/** Judges what is known of the cluster, if it is. */
export function known({ view, status }: ClusterFacts, judge: (known: Known) => Finding): Finding {
  const config = view === undefined ? undefined : configOf(view);
  if (view === undefined || status === undefined || config === undefined) {
    return notApplicable('no definition can be read');
  }
  return judge({ view, config, status });
}

function namesOf(list: readonly { readonly name: string }[]): string {
  return list.map(({ name }) => name).join(', ');
}

function emptyOr(list: readonly unknown[], saw: string): Finding {
  return list.length === 0 ? notApplicable('no service is defined') : ok(saw);
}

/** The worst of several, with what all of them saw. */
export function worst(findings: readonly Finding[]): Finding | undefined {
  const bad = findings.filter(({ verdict }) => verdict === 'problem');
  const chosen = bad.length > 0 ? bad : findings;
  const [first] = chosen;
  if (first === undefined) return undefined;
  return { ...first, saw: chosen.map(({ saw }) => saw).join('; ') };
}
