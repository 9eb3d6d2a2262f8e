import { put } from '../agent/transactions.js';
import { fencedKey } from '../control/keys.js';
import type { FencedRecord } from '../control/records.js';
import { isSilent } from '../control/silence.js';
import { configOf, incarnationId, type View } from '../control/view.js';
import { isExpired } from '../control/votes.js';
import { UnderstudyError } from '../errors.js';
import type { Store } from '../store/types.js';
import { type Actor, auditOperations } from './audit.js';

export interface Fenced {
  readonly host: string;
  readonly incarnation: number;
  readonly fenced: true;
}

/**
 * Takes a person's word that a failed host is off, where nothing else proves that it is silent.
 *
 * @param yes the person has said that the host is off
 * @throws US_FENCED_REFUSED, US_HOST_UNKNOWN
 */
export async function fenced(
  store: Store,
  view: View,
  host: string,
  yes: boolean,
  actor: Actor,
): Promise<Fenced> {
  const incarnation = suspectIncarnation(view, host);
  const id = incarnationId(host, incarnation);
  if (!yes) {
    throw refused(
      host,
      `if ${id} still runs, two hosts will own its addresses and disks`,
      `switch it off or pull its cables first, then: understudy fenced ${host} --yes`,
    );
  }
  const key = fencedKey(host, incarnation);
  const record: FencedRecord = {
    by: 'person',
    atUnixMs: Date.now(),
    detail: `${actor.who} said so, ${actor.from}`,
  };
  await store.transact({
    compare: [{ kind: 'absent', key }],
    write: [
      put(key, record),
      ...auditOperations(actor, {
        what: 'fenced',
        subject: host,
        detail: `take ${id} as off`,
      }),
    ],
  });
  return { host, incarnation, fenced: true };
}

/** The incarnation that waits for this word. */
function suspectIncarnation(view: View, host: string): number {
  const config = configOf(view);
  if (!config?.hosts.some(({ name }) => name === host)) {
    throw new UnderstudyError({
      code: 'US_HOST_UNKNOWN',
      action: 'cannot take as off',
      object: host,
      cause: 'it is no host of this cluster',
      remedy: 'understudy status lists them',
    });
  }
  for (const { value } of view.assignments.values()) {
    if (value.host !== host || !isExpired(view, host, value.incarnation)) continue;
    if (!isSilent(view, host, value.incarnation)) return value.incarnation;
  }
  throw refused(
    host,
    'nothing waits for this: it is heard, or proven silent, or it carries nothing',
    'understudy status tells what each host carries',
  );
}

function refused(host: string, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_FENCED_REFUSED',
    action: 'cannot take as off',
    object: host,
    cause,
    remedy,
  });
}
