import { createHash, randomBytes } from 'node:crypto';
import type { ClusterConfig } from '../config/types.js';
import { decideApply } from '../control/apply.js';
import type { Refusal } from '../control/controllers-apply.js';
import { allocationKey, configKey } from '../control/keys.js';
import { type View, ViewKeeper } from '../control/view.js';
import { UnderstudyError } from '../errors.js';
import type { Compare, Store } from '../store/types.js';
import { type Actor, auditOperations } from './audit.js';

const attempts = 5;

/**
 * Writes a cluster file to the store, with everything allocated. Agents follow from there.
 *
 * @param may looks at what stands, each time before it is decided on, and throws if that will not do
 * @returns the generation that now stands
 * @throws US_FABRIC_UNKNOWN when `fabric: auto` cannot be decided yet, US_APPLY_REFUSED when a running
 *   role would lose what it stands on, US_CONTROLLERS_CHANGE and US_CONTROLLERS_CHANGING when the
 *   controllers cannot be changed like this or now, US_APPLY_RACE when somebody else keeps changing the definition
 */
export async function applyConfig(
  store: Store,
  wanted: ClusterConfig,
  actor: Actor,
  may: (view: View) => void = () => {},
): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const { entries } = await store.list('');
    const keeper = new ViewKeeper();
    keeper.reset(entries);
    may(keeper.view);
    const decision = decideApply(keeper.view, wanted, digest, (bytes) =>
      randomBytes(bytes).toString('hex'),
    );
    if (decision.kind === 'unchanged') return keeper.view.config?.value.generation ?? 0;
    if (decision.kind === 'undecided') throw undecided(decision.network, decision.hosts);
    if (decision.kind === 'refused') throw refused(wanted.cluster, decision);
    const { config, allocation, configRevision, allocationRevision } = decision.application;
    const result = await store.transact({
      compare: [at(configKey, configRevision), at(allocationKey, allocationRevision)],
      write: [
        { kind: 'put', key: configKey, value: JSON.stringify(config) },
        { kind: 'put', key: allocationKey, value: JSON.stringify(allocation) },
        ...auditOperations(actor, {
          what: 'apply',
          subject: wanted.cluster,
          detail: `apply generation ${config.generation}`,
        }),
      ],
    });
    if (result.done) return config.generation;
  }
  throw new UnderstudyError({
    code: 'US_APPLY_RACE',
    action: 'cannot apply',
    object: wanted.cluster,
    cause: `the definition changed under way, ${attempts} times`,
    remedy: 'see who else applies (understudy events), then try again',
  });
}

/** A file of another cluster is not for this one. @throws US_APPLY_CLUSTER */
export function meantFor(cluster: string, config: ClusterConfig, file: string): void {
  if (config.cluster === cluster) return;
  throw new UnderstudyError({
    code: 'US_APPLY_CLUSTER',
    action: 'cannot apply',
    object: file,
    cause: `it is for cluster ${config.cluster}, this is ${cluster}`,
    remedy: 'name the right cluster with --config or --lab',
  });
}

/** What vMACs are derived by. */
export function digest(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}

function at(key: string, revision: number | undefined): Compare {
  return revision === undefined
    ? { kind: 'absent', key }
    : { kind: 'revision', key, modRevision: revision };
}

export function refused(cluster: string, { code, cause, remedy }: Refusal): UnderstudyError {
  const action = 'cannot apply this definition to';
  return new UnderstudyError({
    code,
    action,
    object: cluster,
    cause,
    remedy,
  });
}

export function undecided(network: string, hosts: readonly string[]): UnderstudyError {
  return new UnderstudyError({
    code: 'US_FABRIC_UNKNOWN',
    action: 'cannot choose the fabric of network',
    object: network,
    cause: `no agent has told yet what the kernel of ${hosts.join(', ')} can do`,
    remedy: 'start the agents first, or write fabric: vlan or fabric: vxlan',
  });
}
