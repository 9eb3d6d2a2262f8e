import { incarnationId } from '../../control/view.js';
import { personHere } from '../../operate/audit.js';
import { fenced } from '../../operate/fenced.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface FencedOptions extends ClusterOptions {
  readonly json: boolean;
  readonly host: string;
  /** The person has said that the host is off. */
  readonly yes: boolean;
}

/** Takes a person's word that a failed host is off, where nothing else proves that it is silent. */
export async function run({ host, yes, json, ...options }: FencedOptions): Promise<number> {
  return withCluster(options, async ({ store, view }) => {
    const done = await fenced(store, await view(), host, yes, personHere());
    process.stdout.write(
      json
        ? `${JSON.stringify(done)}\n`
        : `${incarnationId(host, done.incarnation)} counts as off: what it carried is taken over\n`,
    );
    return 0;
  });
}
