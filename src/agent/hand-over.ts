import { decideHandover } from '../control/handover.js';
import { type Role, roleId } from '../control/view.js';
import { within } from '../deadline.js';
import type { RoleParts } from './role-parts.js';
import { handoverTransaction } from './transactions.js';

/** Long enough for the next host to be heard again, too short for others to notice what is left. */
const nextGoesFirstMs = 50;

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

/**
 * Waits before what is left is cleared, until the next host runs the personality, and not for long: others on
 * this host do not reach it at its new place before. Clearing takes processors and locks of the kernel, which
 * the next host needs just now where both are guests of one machine.
 */
export async function letNextGoFirst(
  role: Role,
  { watch, until, timers }: Pick<RoleParts, 'watch' | 'until' | 'timers'>,
): Promise<void> {
  const next = watch.view.assignments.get(roleId(role))?.value;
  if (next === undefined || next.host === null) return;
  const { host, epoch } = next;
  const runs = () => {
    const said = watch.view.reports.get(host)?.value.personalities ?? [];
    return said.some(
      (one) => one.name === role.name && one.epoch === epoch && one.phase === 'running',
    );
  };
  await until(runs, within(nextGoesFirstMs, undefined, timers)).catch(() => undefined);
}
