import type { StoredChange } from '../world.js';
import type { Check, CheckParts } from './check.js';
import { presences } from './roles.js';
import type { SeenAssignment } from './store-model.js';

/**
 * Assignments as they are written: epochs grow, nobody gets a role who was retired, and a role is
 * taken from a host only with a majority of distinct votes against exactly that incarnation, whose
 * frames must not pass any more.
 */
export function assignments({ world, roles, store, violated }: CheckParts): Check {
  const mayBeTaken = (id: string, before: SeenAssignment): void => {
    const { host, incarnation } = before;
    if (host === null) return;
    const enforced = store.enrolled.get(host)?.enforced ?? false;
    const current = store.enrolled.get(host)?.incarnation === incarnation;
    if (!store.isVotedOut(host, incarnation)) {
      const standing = store.standing(host, incarnation);
      violated('quorum', `${id} is taken from ${host}/${incarnation} with ${standing} votes`);
    }
    if (!enforced && current && !store.fenced.has(`${host}/${incarnation}`)) {
      violated('quorum', `${id} is taken from ${host}/${incarnation}, which may be alive`);
    }
  };
  const assigned = (id: string, next: SeenAssignment): void => {
    const before = store.assignments.get(id);
    const moved =
      before !== undefined &&
      (before.host !== next.host || before.incarnation !== next.incarnation);
    if (
      before !== undefined &&
      (next.epoch < before.epoch || (moved && next.epoch === before.epoch))
    ) {
      violated('epoch-forward', `${id} goes from epoch ${before.epoch} to ${next.epoch}`);
    }
    if (moved && before.state === 'assigned' && next.cause === 'lease-expired')
      mayBeTaken(id, before);
    if (next.host !== null && moved && store.retired.has(`${next.host}/${next.incarnation}`)) {
      violated('retired-for-good', `${id} is given to ${next.host}/${next.incarnation}, retired`);
    }
    if (!moved) return;
    const role = roles.find((found) => found.id === id);
    for (const mac of role?.macs ?? []) {
      for (const { host, epoch } of presences(world, mac)) {
        if (epoch >= next.epoch) continue;
        violated('one-owner', `${id} gets epoch ${next.epoch} while it is still on ${host}`);
      }
    }
  };
  return {
    stored: ({ key, value }: StoredChange) => {
      const [head, kind, name] = key.split('/');
      if (head === 'assign' && value !== undefined)
        assigned(`${kind}/${name}`, value as SeenAssignment);
      if (head === 'retired' && value === undefined) {
        violated('retired-for-good', `the mark ${key} was removed`);
      }
    },
  };
}
