import { within } from '../deadline.js';
import { messageOf } from '../errors.js';
import type { RoleParts } from './role-parts.js';

/** What is not written by then is written when the workload has ended. */
const flushBudgetMs = 10_000;

/** While everything still runs: what is dirty by now is not written during the outage. */
export async function flushAhead(
  personality: string,
  volumes: readonly { readonly lun: number }[],
  { storage, timers, log }: Pick<RoleParts, 'storage' | 'timers' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  const until = within(flushBudgetMs, signal, timers);
  const flushed = await Promise.allSettled(
    volumes.map(({ lun }) => storage.flush(personality, lun, until)),
  );
  signal.throwIfAborted();
  for (const one of flushed) {
    if (one.status === 'fulfilled') continue;
    // The detach says so again, if it is still so.
    log.debug({ personality }, `not flushed ahead: ${messageOf(one.reason)}`);
  }
}
