import { personHere } from '../../operate/audit.js';
import { move } from '../../operate/move.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface MoveOptions extends ClusterOptions {
  readonly json: boolean;
  readonly personality: string;
  readonly to?: string;
}

/** Asks the owner to stop in good order and hand over. Returns when that is written. */
export async function run({ personality, to, json, ...options }: MoveOptions): Promise<number> {
  return withCluster(options, async ({ store, view }) => {
    const moved = await move(store, await view(), personality, to, personHere());
    process.stdout.write(
      json
        ? `${JSON.stringify(moved)}\n`
        : `${personality} moves from ${moved.from} to ${moved.to}; follow it with understudy status --watch\n`,
    );
    return 0;
  });
}
