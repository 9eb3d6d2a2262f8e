import type { ClusterConfig } from '../config/types.js';
import { controllersChange } from './controllers-change.js';
import { type ConfigRecord, type ControllersRecord, lastSet } from './records.js';
import { incarnationId, type View } from './view.js';
import { enrolledIncarnations, isShutOut } from './votes.js';

/** Why a cluster file is not taken. */
export interface Refusal {
  readonly code: 'US_APPLY_REFUSED' | 'US_CONTROLLERS_CHANGING' | 'US_CONTROLLERS_CHANGE';
  readonly cause: string;
  readonly remedy: string;
}

/** What stands beside the new definition: the set of controllers, and whom it replaces. */
type Decision = { readonly controllers: ControllersRecord | undefined } | Refusal;

/**
 * What a cluster file means for the set of controllers: nothing, the beginning of a change, its end by
 * going back, or a refusal. Whatever is not known to go well is refused.
 */
export function decideControllers(view: View, wanted: ClusterConfig): Decision {
  const before = view.config?.value;
  if (before === undefined) return { controllers: undefined };
  const { set = 0, since = 0, from = null } = before.controllers ?? {};
  if (sameNames(wanted.controllers, before.config.controllers)) {
    if (from === null) return { controllers: before.controllers };
    return (
      otherTiming(before, wanted) ??
      leavingHost(view, from, wanted) ?? { controllers: before.controllers }
    );
  }
  if (from !== null) return whileChanging(before, from, wanted);
  const next = set + 1;
  if (next >= lastSet) return refuse('the controllers were changed as often as can be counted');
  // The way out when a majority of the old ones is gone for good: nothing is left to be disturbed.
  if (nobodyDepends(view, wanted)) return { controllers: { set: next, since: next, from: null } };
  return (
    obstacle(view, before, wanted) ?? {
      controllers: { set: next, since, from: before.config.controllers },
    }
  );
}

/**
 * Back to the old ones at once: every lease that may be running, under the old set or under both, is
 * carried by a majority of them.
 */
function whileChanging(
  before: ConfigRecord,
  from: readonly string[],
  wanted: ClusterConfig,
): Decision {
  if (!sameNames(wanted.controllers, from)) {
    return {
      code: 'US_CONTROLLERS_CHANGING',
      cause: `the controllers are being changed from ${list(from)} to ${list(before.config.controllers)}, and it names ${list(wanted.controllers)}`,
      remedy: `wait until understudy status says no more of it; or go back first: apply ${list(from)}`,
    };
  }
  const { set = 0, since = 0 } = before.controllers ?? {};
  return otherTiming(before, wanted) ?? { controllers: { set: set + 1, since, from: null } };
}

function nobodyDepends(view: View, wanted: ClusterConfig): boolean {
  const placed = [...view.assignments.values()].some(({ value }) => value.host !== null);
  const roles = wanted.personalities.length + wanted.services.length;
  return !placed && (roles === 0 || enrolledIncarnations(view).length === 0);
}

function obstacle(view: View, before: ConfigRecord, wanted: ClusterConfig): Refusal | undefined {
  return (
    otherTiming(before, wanted) ??
    stillSettling(view) ??
    loneController(before, wanted) ??
    oldVersions(view) ??
    notUp(view, before, wanted) ??
    leavingHost(view, before.config.controllers, wanted)
  );
}

/** Leases of two lengths would have to be waited for. */
function otherTiming({ config }: ConfigRecord, wanted: ClusterConfig): Refusal | undefined {
  if (JSON.stringify(config.timing) === JSON.stringify(wanted.timing)) return undefined;
  return refuse('it changes the timing too', 'apply the one and then, when it is over, the other');
}

function stillSettling(view: View): Refusal | undefined {
  const change = controllersChange(view);
  if (change === undefined) return undefined;
  return {
    code: 'US_CONTROLLERS_CHANGING',
    cause: `the change before is not over: ${change.reason}`,
    remedy: 'see to those hosts; understudy status tells when it is over',
  };
}

/** One controller whose loss would silence every host is nobody's wish unless it is said. */
function loneController({ config }: ConfigRecord, wanted: ClusterConfig): Refusal | undefined {
  const lone = wanted.controllers.length === 1 && config.controllers.length > 1;
  if (!lone || wanted.fencing.enforce || !config.fencing.enforce) return undefined;
  return refuse(
    `the leases of the present hosts are enforced for as long as they run, and would depend on ${list(wanted.controllers)} alone`,
    'write fencing: {enforce: true} if that is meant; or name three controllers',
  );
}

function oldVersions(view: View): Refusal | undefined {
  const live = new Set(enrolledIncarnations(view));
  const old = [...view.hosts].flatMap(([name, { value }]) =>
    live.has(incarnationId(name, value.incarnation)) &&
    view.features.get(name)?.value.controllerSets !== true
      ? [name]
      : [],
  );
  if (old.length === 0) return undefined;
  return refuse(
    `the version that runs on ${list(old)} does not know that controllers can change`,
    'finish the upgrade on every host (agent and pulse), then apply this',
  );
}

/** Without a majority of the new ones no change would end, and no failover be committed meanwhile. */
function notUp(view: View, { config }: ConfigRecord, wanted: ClusterConfig): Refusal | undefined {
  const down = wanted.controllers.filter((name) => !isUp(view, name));
  const newcomers = down.filter((name) => !config.controllers.includes(name));
  const alive = wanted.controllers.length - down.length;
  if (newcomers.length === 0 && alive > wanted.controllers.length / 2) return undefined;
  return refuse(
    `${list(newcomers.length === 0 ? down : newcomers)} ${down.length === 1 ? 'is' : 'are'} not up`,
    'a new controller has to be a host that is up: start its pulse and agent (apply it as a host first), then apply this',
  );
}

/** Until the end its majority counts, so the hosts must be able to reach it. */
function leavingHost(
  view: View,
  old: readonly string[],
  wanted: ClusterConfig,
): Refusal | undefined {
  const named = new Set(wanted.hosts.map(({ name }) => name));
  const leaving = old.filter((name) => !named.has(name) && isUp(view, name));
  if (leaving.length === 0) return undefined;
  return refuse(
    `it no longer names ${list(leaving)}, which is up and a controller until the change is over`,
    'leave it among the hosts, apply, and take it out when the change is over',
  );
}

function isUp(view: View, name: string): boolean {
  const incarnation = view.hosts.get(name)?.value.incarnation;
  return incarnation !== undefined && !isShutOut(view, name, incarnation);
}

const sameNames = (a: readonly string[], b: readonly string[]): boolean =>
  list([...a].sort()) === list([...b].sort());
const list = (names: readonly string[]): string => names.join(', ');

function refuse(cause: string, remedy = 'see docs/architecture.md, limits'): Refusal {
  return { code: 'US_CONTROLLERS_CHANGE', cause, remedy };
}
