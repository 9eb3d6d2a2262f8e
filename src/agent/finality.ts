import type { ClusterConfig } from '../config/types.js';
import { retiredKey, voteKey } from '../control/keys.js';
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
  config: ClusterConfig,
  host: string,
  incarnation: number,
): Promise<boolean> {
  const [votes, retired] = await Promise.all([
    store.list(voteKey(host, incarnation, '')),
    store.get(retiredKey(host, incarnation)),
  ]);
  const keeper = new ViewKeeper();
  keeper.reset(retired === undefined ? votes.entries : [...votes.entries, retired]);
  return isShutOut(keeper.view, config, host, incarnation);
}
