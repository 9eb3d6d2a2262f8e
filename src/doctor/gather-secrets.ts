import type { ClusterConfig } from '../config/types.js';
import { messageOf } from '../errors.js';
import { readChap } from '../storage/chap.js';
import type { SecretFacts } from './facts.js';

/** The CHAP secrets of every volume that may come to this host; undefined where no definition is known. */
export async function gatherSecrets(
  cluster: ClusterConfig | undefined,
  host: string,
): Promise<readonly SecretFacts[] | undefined> {
  if (cluster === undefined) return undefined;
  const pool = cluster.hosts.find(({ name }) => name === host)?.pool;
  const mine = new Set(
    cluster.personalities
      .filter((personality) => pool !== null && personality.pool === pool)
      .flatMap(({ storage }) => storage.map(({ volume }) => volume)),
  );
  const wanted = cluster.volumes.filter(({ name, chap }) => chap !== undefined && mine.has(name));
  return Promise.all(
    wanted.map(async ({ name, chap }) => {
      const trouble = await readChap(chap, name).then(
        () => undefined,
        (thrown: unknown) => messageOf(thrown),
      );
      return { volume: name, trouble };
    }),
  );
}
