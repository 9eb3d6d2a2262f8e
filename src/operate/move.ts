import { rewriteTransaction } from '../agent/transactions.js';
import type { ClusterConfig } from '../config/types.js';
import { isEligible } from '../control/eligible.js';
import { choosePlacement, Survey } from '../control/placement.js';
import { draining } from '../control/rewrites.js';
import { configOf, type Role, roleId, type View } from '../control/view.js';
import { UnderstudyError } from '../errors.js';
import type { Store } from '../store/types.js';
import { type Actor, auditOperations, isWritten } from './audit.js';

export interface Moved {
  readonly personality: string;
  readonly from: string | null;
  readonly to: string;
}

/**
 * Asks the owner to stop in good order and hand over. Resolves when that is written.
 *
 * @param wish where to; undefined: the best spare
 * @throws US_MOVE_REFUSED
 */
export async function move(
  store: Store,
  view: View,
  personality: string,
  wish: string | undefined,
  actor: Actor,
): Promise<Moved> {
  const role: Role = { kind: 'personality', name: personality };
  const to = moveTarget(view, role, wish);
  const [rewrite] = draining(view, role, to, 'move', `asked for: to ${to}`);
  if (rewrite === undefined)
    throw refused(role, 'it has no host now', 'understudy status tells why');
  const transaction = rewriteTransaction(rewrite);
  const from = rewrite.next.host;
  const audit = auditOperations(actor, {
    what: 'move',
    subject: personality,
    detail: `move ${personality} from ${from} to ${to}`,
  });
  const { compare, write } = transaction;
  const result = await store.transact({ compare, write: [...write, ...audit] });
  if (!result.done && !(await isWritten(store, audit))) {
    throw refused(
      role,
      'its assignment changed meanwhile',
      'look at understudy status, then try again',
    );
  }
  return { personality, from, to };
}

/**
 * Where a personality may be moved to.
 *
 * @throws US_MOVE_REFUSED
 */
export function moveTarget(view: View, role: Role, wish: string | undefined): string {
  const config = configOf(view);
  const kept = view.assignments.get(roleId(role));
  if (config === undefined || kept === undefined || kept.value.host === null) {
    throw refused(role, 'no such personality is placed', 'understudy status lists them');
  }
  if (kept.value.state === 'draining') {
    throw refused(role, 'it is on its way already', 'understudy status --watch');
  }
  if (wish === undefined) {
    const avoid = new Set([kept.value.host]);
    const choice = choosePlacement(view, config, role, { lapsed: new Set() }, avoid);
    if (choice.kind === 'place') return choice.host;
    throw refused(role, choice.reason, 'power on or undrain a host of its pool');
  }
  const pool = config.personalities.find(({ name }) => name === role.name)?.pool;
  const host = config.hosts.find(({ name }) => name === wish);
  const enrolled = view.hosts.get(wish)?.value;
  if (host === undefined)
    throw refused(role, `${wish} is no host of this cluster`, 'understudy status');
  if (host.pool !== pool)
    throw refused(role, `${wish} is not in pool ${pool}`, 'name one of its pool');
  if (wish === kept.value.host) throw refused(role, `it is on ${wish} already`, 'nothing to do');
  if (enrolled === undefined || !isEligible(view, wish, enrolled.incarnation)) {
    throw refused(role, `${wish} is not up`, 'name a host that is up');
  }
  // It would be moved on at once: stopped twice, and perhaps on a machine that is about to be opened.
  if (view.drained.has(wish)) {
    throw refused(role, `${wish} is drained`, `name another host, or: understudy undrain ${wish}`);
  }
  if (isFull(view, config, role, wish)) {
    const room = `its capacity is ${host.capacity}, and it carries as many`;
    throw refused(
      role,
      `${wish} has no room: ${room}`,
      'name another host, or move one away first',
    );
  }
  return wish;
}

/** As placement counts: with what is on its way there. */
function isFull(view: View, config: ClusterConfig, role: Role, host: string): boolean {
  const others = config.hosts.flatMap(({ name }) => (name === host ? [] : [name]));
  const survey = new Survey(view, config, { lapsed: new Set() });
  return [false, true].some((doubted) => {
    const choice = survey.choose(role, new Set(others), doubted);
    return choice.kind === 'hold' && choice.reason === 'no-room-in-pool';
  });
}

function refused(role: Role, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_MOVE_REFUSED',
    action: 'cannot move',
    object: role.name,
    cause,
    remedy,
  });
}
