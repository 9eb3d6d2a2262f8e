import { auditOf } from '../../operate/audit.js';
import { type ClusterOptions, withCluster } from '../cluster.js';
import { colour } from '../colour.js';
import { table } from '../output.js';

export interface AuditOptions extends ClusterOptions {
  readonly json: boolean;
}

/** Every change that somebody asked for, oldest first; with `json` one object a line. */
export async function run({ json, ...options }: AuditOptions): Promise<number> {
  return withCluster(options, async ({ store }) => {
    const { entries } = await store.list('audit/');
    const records = entries.flatMap(({ value }) => auditOf(value) ?? []);
    if (json) {
      for (const record of records) process.stdout.write(`${JSON.stringify(record)}\n`);
      return 0;
    }
    const rows = records.map(({ atUnixMs, who, from, detail }) => [
      colour.dim(new Date(atUnixMs).toISOString()),
      who,
      from,
      detail,
    ]);
    process.stdout.write(
      rows.length === 0 ? 'nobody has changed anything yet\n' : `${table(rows)}\n`,
    );
    return 0;
  });
}
