import { put } from '../agent/transactions.js';
import { drainedKey } from '../control/keys.js';
import { configOf, type View } from '../control/view.js';
import { UnderstudyError } from '../errors.js';
import type { Store } from '../store/types.js';
import { type Actor, auditOperations } from './audit.js';

export interface Drained {
  readonly host: string;
  /** true: drained; false: takes part. */
  readonly drained: boolean;
}

/**
 * Marks a host for maintenance, or takes the mark away. The leader moves what is on it.
 *
 * @throws US_HOST_UNKNOWN
 */
export async function drain(
  store: Store,
  view: View,
  wished: Drained,
  actor: Actor,
): Promise<Drained> {
  const { host, drained } = wished;
  if (!configOf(view)?.hosts.some(({ name }) => name === host)) {
    throw new UnderstudyError({
      code: 'US_HOST_UNKNOWN',
      action: drained ? 'cannot drain' : 'cannot undrain',
      object: host,
      cause: 'it is no host of this cluster',
      remedy: 'understudy status lists them',
    });
  }
  const key = drainedKey(host);
  const what = drained ? 'drain' : 'undrain';
  await store.transact({
    compare: [],
    write: [
      drained ? put(key, { atUnixMs: Date.now() }) : { kind: 'delete', key },
      ...auditOperations(actor, { what, subject: host, detail: `${what} ${host}` }),
    ],
  });
  return { host, drained };
}
