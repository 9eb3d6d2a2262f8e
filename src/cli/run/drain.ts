import { drainedKey } from '../../control/keys.js';
import { configOf } from '../../control/view.js';
import { UnderstudyError } from '../../errors.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface DrainOptions extends ClusterOptions {
  readonly json: boolean;
  readonly host: string;
  /** true: drain; false: undrain. */
  readonly drained: boolean;
}

/** Marks a host for maintenance, or takes the mark away. The leader moves what is on it. */
export async function run(options: DrainOptions): Promise<number> {
  return withCluster(options, async (cluster) => {
    const { host, drained } = options;
    const config = configOf(await cluster.view());
    if (!config?.hosts.some(({ name }) => name === host)) {
      throw new UnderstudyError({
        code: 'US_HOST_UNKNOWN',
        action: drained ? 'cannot drain' : 'cannot undrain',
        object: host,
        cause: 'it is no host of this cluster',
        remedy: 'understudy status lists them',
      });
    }
    const key = drainedKey(host);
    await cluster.store.transact({
      compare: [],
      write: drained
        ? [{ kind: 'put', key, value: JSON.stringify({ atUnixMs: Date.now() }) }]
        : [{ kind: 'delete', key }],
    });
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ host, drained })}\n`
        : drained
          ? `${host} is drained: the leader moves what is on it, one at a time\n`
          : `${host} takes part again; nothing moves back by itself\n`,
    );
    return 0;
  });
}
