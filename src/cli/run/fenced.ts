import { fencedKey } from '../../control/keys.js';
import type { FencedRecord } from '../../control/records.js';
import { isSilent } from '../../control/silence.js';
import { configOf, incarnationId, type View } from '../../control/view.js';
import { isExpired } from '../../control/votes.js';
import { UnderstudyError } from '../../errors.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface FencedOptions extends ClusterOptions {
  readonly json: boolean;
  readonly host: string;
  /** The person has said that the host is off. */
  readonly yes: boolean;
}

/** Takes a person's word that a failed host is off, where nothing else proves that it is silent. */
export async function run(options: FencedOptions): Promise<number> {
  const { host, yes, json } = options;
  return withCluster(options, async (cluster) => {
    const incarnation = suspectIncarnation(await cluster.view(), host);
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
      detail: 'said so: understudy fenced',
    };
    await cluster.store.transact({
      compare: [{ kind: 'absent', key }],
      write: [{ kind: 'put', key, value: JSON.stringify(record) }],
    });
    process.stdout.write(
      json
        ? `${JSON.stringify({ host, incarnation, fenced: true })}\n`
        : `${id} counts as off: what it carried is taken over\n`,
    );
    return 0;
  });
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
    if (value.host !== host || !isExpired(view, config, host, value.incarnation)) continue;
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
