import { decideHandover } from '../control/handover.js';
import type { Role } from '../control/view.js';
import type { RoleParts } from './role-parts.js';
import { handoverTransaction } from './transactions.js';

/**
 * Writes who is next for a role that this host has let go of in good order.
 *
 * @throws when what the choice rests on has changed: nobody has the role until it is made anew
 */
export async function handOver(
  role: Role,
  drainStartedMs: number,
  parts: RoleParts,
): Promise<void> {
  const { watch, host, clock, bootId, store, journal } = parts;
  const handover = decideHandover(watch.view, role, {
    me: host,
    nowMs: clock.bootMs(),
    unixMs: clock.unixMs(),
    bootId,
    drainStartedMs,
  });
  if (handover === undefined) return;
  const transaction = handoverTransaction(role, handover);
  const result = await store.transact(transaction);
  if (!result.done) throw new Error(`what the hand-over of ${role.name} rests on has changed`);
  watch.learn(transaction.write, result.revision);
  const { next } = handover;
  journal.event('handover', role.name, `${host} → ${next.host ?? 'nobody'}, epoch ${next.epoch}`);
}
