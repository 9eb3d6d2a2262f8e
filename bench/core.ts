import { peersOf } from '../src/agent/enrolment.js';
import { dutiesOf } from '../src/agent/owner.js';
import { networksHere, peerSpec, wishOf } from '../src/agent/specs.js';
import { watchedIncarnations } from '../src/agent/taking-control.js';
import { checksFor } from '../src/agent/verifier.js';
import type { ClusterConfig } from '../src/config/types.js';
import { decideFailovers, initialFailoverState } from '../src/control/failover.js';
import { decideFencing, initialFencing } from '../src/control/fencing.js';
import { assignmentKey, configKey, hostKey, reportKey } from '../src/control/keys.js';
import { rolesToKeepReady } from '../src/control/readiness.js';
import { decideStewardship, type Stewardship } from '../src/control/stewardship.js';
import { parseRoleId, type View, ViewKeeper } from '../src/control/view.js';
import { configOfSize, type Entry, entriesOf, reportOn, votesAgainst } from './cluster.js';
import { heldBytes, timed } from './measure.js';

/** What deciding costs at one size, in µs unless it says otherwise. */
export interface CoreCosts {
  readonly snapshot: number;
  readonly viewBytes: number;
  /** One report arrives: the view, and both decisions looking at it with nothing to do. */
  readonly newsToView: number;
  readonly newsToLeader: number;
  /** The same on a host that is no controller: its duties, forwarding and checks. */
  readonly newsToHost: number;
  /** Failovers decided when so many hosts fail at once, all roles of theirs. */
  readonly failover: ReadonlyMap<number, { readonly roles: number; readonly perRole: number }>;
  /** First placement of everything, a role. */
  readonly placementPerRole: number;
}

const calm = { lapsed: new Set<string>() };
const asLeader = {
  me: 'h2',
  leader: true,
  nowMs: 1_000,
  unixMs: 0,
  bootId: 'boot',
  liveness: calm,
};
const asSteward = { nowMs: 10_000, leaderSinceMs: 0, liveness: calm };

export function measureCore(hosts: number): CoreCosts {
  const config = configOfSize(hosts);
  const entries = entriesOf(config);
  const filled = () => {
    const keeper = new ViewKeeper();
    keeper.reset(entries, entries.length + 2);
    return keeper;
  };
  const { view } = filled();
  const news = reportNews(entries.length + 3);
  return {
    snapshot: timed(filled, () => undefined),
    viewBytes: heldBytes(() => filled().view),
    newsToView: timed((keeper) => keeper.apply(news), filled, news.length),
    newsToLeader: timed(
      () => [
        decideFailovers(initialFailoverState, view, asLeader),
        decideStewardship(view, asSteward),
        decideFencing(initialFencing, view, asLeader.nowMs),
        peersOf(config, hostNames(config), 7411),
        watchedIncarnations(view),
      ],
      () => undefined,
    ),
    newsToHost: timed(
      () => lookOn(view, config, 'h5'),
      () => undefined,
    ),
    failover: new Map(failing(hosts).map((count) => [count, failOver(filled(), entries, count)])),
    placementPerRole: placeAll(config),
  };
}

/** A hundred reports of one host, each another. */
function reportNews(revision: number) {
  return Array.from({ length: 100 }, (_, index) => {
    const value = JSON.stringify(reportOn(['p4', 'p5'], String(index)));
    const entry = { key: reportKey('h4'), value, modRevision: revision + index };
    return { kind: 'put', entry } as const;
  });
}

/** What the agent of a host works out again when something changed anywhere. */
function lookOn(view: View, config: ClusterConfig, host: string): unknown {
  const facts = { host, underlayInterface: 'eth1', underlayAddress: '10.66.0.4' };
  const duties = [...dutiesOf(view, host, 1).keys()];
  return [
    duties.map((id) => wishOf(view, parseRoleId(id), host)),
    [...networksHere(view, config, host)].map((name) => peerSpec(view, config, name, facts)),
    checksFor(view, host),
    rolesToKeepReady(view, config, host),
  ];
}

const hostNames = (config: ClusterConfig) => config.hosts.map(({ name }) => name);

const failing = (hosts: number) => [1, 10, 100, 900].filter((count) => count <= hosts * 0.9);

function failOver(keeper: ViewKeeper, entries: readonly Entry[], count: number) {
  const failed = Array.from({ length: count }, (_, index) => `h${index + 1}`);
  const votes = votesAgainst(failed, entries.length + 3);
  keeper.apply(votes.map((entry) => ({ kind: 'put', entry })));
  const decide = () => decideFailovers(initialFailoverState, keeper.view, asLeader).verdicts;
  const roles = decide().length;
  return { roles, perRole: timed(decide, () => undefined, roles) };
}

/** Rounds of the leader until everything has a host, each round's choices carried out. */
function placeAll(config: ClusterConfig): number {
  const roles = config.personalities.length + config.services.length;
  const enrolled = config.hosts.map(({ name }, index) => ({
    key: hostKey(name),
    value: JSON.stringify({ incarnation: 1, bootToken: name, enforced: true }),
    modRevision: index + 3,
  }));
  const definition = { generation: 1, config };
  const base = [{ key: configKey, value: JSON.stringify(definition), modRevision: 2 }, ...enrolled];
  return timed(
    (keeper) => {
      let revision = base.length + 3;
      for (;;) {
        const { rewrites }: Stewardship = decideStewardship(keeper.view, asSteward);
        if (rewrites.length === 0) return;
        for (const { role, next } of rewrites) {
          const key = assignmentKey(role.kind, role.name);
          const entry = { key, value: JSON.stringify(next), modRevision: revision++ };
          keeper.apply([{ kind: 'put', entry }]);
        }
      }
    },
    () => {
      const keeper = new ViewKeeper();
      keeper.reset(base, base.length + 2);
      return keeper;
    },
    roles,
  );
}
