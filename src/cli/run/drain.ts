import { personHere } from '../../operate/audit.js';
import { drain } from '../../operate/drain.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface DrainOptions extends ClusterOptions {
  readonly json: boolean;
  readonly host: string;
  /** true: drain; false: undrain. */
  readonly drained: boolean;
}

/** Marks a host for maintenance, or takes the mark away. The leader moves what is on it. */
export async function run({ host, drained, json, ...options }: DrainOptions): Promise<number> {
  return withCluster(options, async ({ store, view }) => {
    const done = await drain(store, await view(), { host, drained }, personHere());
    process.stdout.write(
      json
        ? `${JSON.stringify(done)}\n`
        : drained
          ? `${host} is drained: the leader moves what is on it, one at a time\n`
          : `${host} takes part again; nothing moves back by itself\n`,
    );
    return 0;
  });
}
