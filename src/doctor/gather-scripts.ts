import type { ClusterConfig } from '../config/types.js';
import { scriptTrouble } from '../dispatch/script-file.js';
import type { ScriptFacts } from './facts.js';

/** The programs of health checks of members that may come to this host; undefined: no definition is known. */
export function gatherScripts(
  cluster: ClusterConfig | undefined,
  host: string,
): readonly ScriptFacts[] | undefined {
  if (cluster === undefined) return undefined;
  const pool = cluster.hosts.find(({ name }) => name === host)?.pool;
  const mine = new Set(
    cluster.personalities
      .filter((personality) => pool !== null && personality.pool === pool)
      .map(({ name }) => name),
  );
  return scriptsOf({
    ...cluster,
    services: cluster.services.filter(({ members }) =>
      members.some(({ personality }) => mine.has(personality)),
    ),
  });
}

/** For `plan`. Other hosts cannot be looked at from here: their own `doctor` does it. */
export function scriptWarnings(cluster: ClusterConfig): readonly string[] {
  return scriptsOf(cluster).flatMap(({ service, program, trouble }) =>
    trouble === undefined
      ? []
      : [
          `the health check of ${service} cannot be run on this machine: ${program}: ${trouble}; a member on a host without it is down (understudy doctor, on each host)`,
        ],
  );
}

function scriptsOf({ services }: ClusterConfig): readonly ScriptFacts[] {
  return services.flatMap(({ name, health }) => {
    if (health === null || !('script' in health)) return [];
    const [program = ''] = health.script;
    return [{ service: name, program, trouble: scriptTrouble(program, health.user) }];
  });
}
