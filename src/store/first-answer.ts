import { messageOf, UnderstudyError } from '../errors.js';
import type { StoreLog } from './log.js';
import { pause, type Timers } from './timers.js';
import type { Store } from './types.js';

/** Shorter than what a unit has for its start (TimeoutStartSec in systemd/). */
export const firstAnswerMs = 60_000;

/** Between two tries, of which each takes as long as a call may. */
const restMs = 100;

/**
 * Starts a daemon's store, and has it wait where the store is only late: booting beside it, or slower than what a
 * cluster is given whose lease is not known yet. To end and be started anew costs a slow machine more than to wait.
 *
 * @throws {UnderstudyError} US_STORE_UNREACHABLE when nobody answered in `firstAnswerMs`; at once what another try
 * would not change
 */
export async function firstAnswer(
  store: Pick<Store, 'start'>,
  parts: { readonly log: StoreLog; readonly timers: Timers },
  signal: AbortSignal,
): Promise<void> {
  const { log, timers } = parts;
  const endMs = timers.nowMs() + firstAnswerMs;
  for (;;) {
    try {
      return await store.start(signal);
    } catch (thrown) {
      const late = thrown instanceof UnderstudyError && thrown.code === 'US_STORE_UNREACHABLE';
      if (!late || signal.aborted || timers.nowMs() >= endMs) throw thrown;
      const leftMs = Math.round(endMs - timers.nowMs());
      log.warn({ leftMs }, `no answer of the store yet; trying again: ${messageOf(thrown)}`);
      await pause(timers, restMs, signal);
    }
  }
}
