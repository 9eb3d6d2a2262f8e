import { writeClusterFile } from '../../config/write.js';
import { UnderstudyError } from '../../errors.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface ExportOptions extends ClusterOptions {
  readonly json: boolean;
}

/** The definition that stands, as a file that `apply` takes again. */
export async function run({ json, ...options }: ExportOptions): Promise<number> {
  return withCluster(options, async ({ name, view }) => {
    const { config } = await view();
    if (config === undefined) {
      throw new UnderstudyError({
        code: 'US_NOT_APPLIED',
        action: 'cannot export',
        object: name,
        cause: 'no cluster file has been applied',
        remedy: 'understudy apply FILE',
      });
    }
    const { generation } = config.value;
    const file = writeClusterFile(config.value.config);
    process.stdout.write(
      json
        ? `${JSON.stringify({ cluster: name, generation, file })}\n`
        : `# ${name}, generation ${generation}\n${file}`,
    );
    return 0;
  });
}
