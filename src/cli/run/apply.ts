import { createHash, randomBytes } from 'node:crypto';
import type { ClusterConfig } from '../../config/types.js';
import { decideApply } from '../../control/apply.js';
import { allocationKey, configKey } from '../../control/keys.js';
import { ViewKeeper } from '../../control/view.js';
import { UnderstudyError } from '../../errors.js';
import type { Compare, Store } from '../../store/types.js';

const attempts = 5;

/**
 * Writes a cluster file to the store, with everything allocated. Agents follow from there.
 *
 * @returns the generation that now stands
 * @throws US_FABRIC_UNKNOWN when `fabric: auto` cannot be decided yet, US_APPLY_RACE when somebody
 *   else keeps changing the definition
 */
export async function applyConfig(store: Store, wanted: ClusterConfig): Promise<number> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const { entries } = await store.list('');
    const keeper = new ViewKeeper();
    keeper.reset(entries);
    const decision = decideApply(
      keeper.view,
      wanted,
      (text) => createHash('sha256').update(text).digest(),
      (bytes) => randomBytes(bytes).toString('hex'),
    );
    if (decision.kind === 'unchanged') return keeper.view.config?.value.generation ?? 0;
    if (decision.kind === 'undecided') throw undecided(decision.network, decision.hosts);
    const { config, allocation, configRevision, allocationRevision } = decision.application;
    const result = await store.transact({
      compare: [at(configKey, configRevision), at(allocationKey, allocationRevision)],
      write: [
        { kind: 'put', key: configKey, value: JSON.stringify(config) },
        { kind: 'put', key: allocationKey, value: JSON.stringify(allocation) },
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

function at(key: string, revision: number | undefined): Compare {
  return revision === undefined
    ? { kind: 'absent', key }
    : { kind: 'revision', key, modRevision: revision };
}

function undecided(network: string, hosts: readonly string[]): UnderstudyError {
  return new UnderstudyError({
    code: 'US_FABRIC_UNKNOWN',
    action: 'cannot choose the fabric of network',
    object: network,
    cause: `no agent has told yet what the kernel of ${hosts.join(', ')} can do`,
    remedy: 'start the agents first, or write fabric: vlan or fabric: vxlan',
  });
}
