import { dispatchSpec } from '../agent/specs.js';
import type { ClusterConfig, HostConfig } from '../config/types.js';
import type { Digest } from '../control/allocation.js';
import { type ApplyDecision, decideApply } from '../control/apply.js';
import { maskKey, volumeKey } from '../control/keys.js';
import { configOf, type View } from '../control/view.js';
import { movedSlots, slotCount } from '../dispatch/table.js';
import { type Difference, difference } from './facts.js';
import { applied, type Foresight, settle, type Write } from './foresee.js';
import { hostFacts, maskFacts } from './host-facts.js';
import { reasons } from './reasons.js';
import type { Operation, Plan, ServiceShift } from './types.js';
import { warningsOf } from './warnings.js';

/** A plan; or why `apply` would not take the file either. */
export type PlanDecision =
  | { readonly kind: 'plan'; readonly plan: Plan }
  | Exclude<ApplyDecision, { readonly kind: 'apply' | 'unchanged' }>;

/**
 * What `apply` would do with this file, and everybody because of it, from the code that does it: the
 * core's own decisions, the agents' own specifications. Pure.
 *
 * Both ends are taken at rest: what is under way already (a move, a takeover) is not the file's doing.
 */
export function planApply(view: View, wanted: ClusterConfig, digest: Digest): PlanDecision {
  const decision = decideApply(view, wanted, digest, (bytes) => '00'.repeat(bytes));
  if (decision.kind === 'undecided' || decision.kind === 'refused') return decision;
  const before = settle(view);
  const from = view.config?.value.generation ?? 0;
  if (decision.kind === 'unchanged') {
    return { kind: 'plan', plan: nothingToDo(wanted.cluster, from) };
  }
  const written = applied(before.view, decision.application);
  const after = settle(written.view);
  const why = reasons(before.view, after.view);
  const hosts = hostsOf(before.view, after.view).flatMap((host) => {
    const differences = difference(
      hostFacts(before.view, host.before),
      hostFacts(after.view, host.after),
    );
    return differences.map((one) => operation(host.after.name, one, why));
  });
  const masks = difference(maskFacts(before.view), maskFacts(after.view));
  const store = [
    ...written.writes,
    ...after.writes,
    ...maskWrites(masks),
    ...serials(hosts, after),
  ];
  const operations = [
    ...store.map(storeOperation),
    ...masks.map((one) => operation('target', one, why)),
    ...hosts,
  ];
  const plan = {
    cluster: wanted.cluster,
    generation: { from, to: from + 1 },
    changes: true,
    operations,
    services: shifts(before.view, after.view),
    warnings: warningsOf(before.view, after, operations),
  };
  return { kind: 'plan', plan };
}

function nothingToDo(cluster: string, generation: number): Plan {
  const none = { operations: [], services: [], warnings: [] };
  return { cluster, generation: { from: generation, to: generation }, changes: false, ...none };
}

/** Every host that was or will be in the definition, as either end describes it. */
function hostsOf(before: View, after: View): readonly { before: HostConfig; after: HostConfig }[] {
  const old = configOf(before)?.hosts ?? [];
  const young = configOf(after)?.hosts ?? [];
  const added = young.filter(({ name }) => !old.some((host) => host.name === name));
  return [
    ...old.map((host) => {
      // What the file says of its NIC and address is in the agent's own file as well, and that decides.
      const { joins, pool } = young.find(({ name }) => name === host.name) ?? host;
      return { before: host, after: { ...host, joins, pool } };
    }),
    ...added.map((host) => ({ before: host, after: host })),
  ];
}

function operation(at: string, { action, fact }: Difference, why: Reason): Operation {
  const { kind, id, state, owner } = fact;
  const text = action === 'change' ? (fact.changeText ?? fact.text) : fact.text;
  return { at, kind, action, object: id, state, text, why: why(owner) };
}

type Reason = (owner: string) => string;

function storeOperation({ key, text, why, gone }: Write): Operation {
  const action = gone === true ? 'delete' : 'put';
  return { at: 'store', kind: 'store', action, object: key, state: {}, text, why };
}

/** What `understudy target` records of each mask that it changed. */
function maskWrites(masks: readonly Difference[]): readonly Write[] {
  return masks.map(({ action, fact }) => {
    const key = maskKey(fact.id.slice('mask '.length));
    const why = 'the target records whom it lets in';
    const gone = action === 'remove';
    return { key, text: gone ? 'forgotten' : `epoch ${fact.state.epoch}`, why, gone };
  });
}

/** A volume's serial is written at its first attach. */
function serials(hosts: readonly Operation[], { view }: Foresight): readonly Write[] {
  const config = configOf(view);
  return (config?.volumes ?? []).flatMap(({ name }) => {
    if (view.volumes.has(name)) return [];
    const used = config?.personalities.flatMap((personality) =>
      personality.storage
        .filter(({ volume }) => volume === name)
        .map(({ lun }) => `${personality.name}/LUN ${lun} session`),
    );
    const attached = hosts.some(({ action, object }) => action === 'add' && used?.includes(object));
    if (!attached) return [];
    return [{ key: volumeKey(name), text: 'the serial found', why: 'first attach' }];
  });
}

function shifts(before: View, after: View): readonly ServiceShift[] {
  const old = new Map((configOf(before)?.services ?? []).map((one) => [one.name, one]));
  const young = new Map((configOf(after)?.services ?? []).map((one) => [one.name, one]));
  const shift = (service: string, change: ServiceShift['change'], slotsMoved: number) => ({
    ...{ service, change, slotsMoved, slots: slotCount },
    liveFlows: null,
  });
  return [...new Set([...old.keys(), ...young.keys()])].sort().flatMap((name): ServiceShift[] => {
    const was = old.get(name);
    const will = young.get(name);
    if (will === undefined) return [shift(name, 'removed', slotCount)];
    if (was === undefined) return [shift(name, 'new', slotCount)];
    const [from, to] = [dispatchSpec(before, was, 0), dispatchSpec(after, will, 0)];
    if (JSON.stringify(from) === JSON.stringify(to)) return [];
    return [shift(name, 'changed', movedSlots(from, to))];
  });
}
