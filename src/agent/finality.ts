import { configKey, retiredKey, voteKey } from '../control/keys.js';
import { ViewKeeper } from '../control/view.js';
import { isShutOut } from '../control/votes.js';
import type { Store } from '../store/types.js';

/**
 * Whether the store says now that this incarnation is over for good: a majority of votes stands, so
 * nobody may withdraw any more, or a commit retired it. A watch may be a little behind with a vote
 * that was withdrawn, and ahead with one of our own: enough for a commit, which compares what it
 * rests on, but not for what is done outside of the store.
 */
export async function isShutOutForGood(
  store: Store,
  host: string,
  incarnation: number,
): Promise<boolean> {
  const [config, votes, retired] = await Promise.all([
    store.get(configKey),
    store.list(voteKey(host, incarnation, '')),
    store.get(retiredKey(host, incarnation)),
  ]);
  const keeper = new ViewKeeper();
  const marks = [config, retired].filter((entry) => entry !== undefined);
  keeper.reset([...votes.entries, ...marks]);
  return isShutOut(keeper.view, host, incarnation);
}
