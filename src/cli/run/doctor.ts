import { existsSync } from 'node:fs';
import { type AgentConfig, readAgentConfig } from '../../agent/config.js';
import { configOf } from '../../control/view.js';
import { nftNotes } from '../../dispatch/nft-dispatcher.js';
import { everyClusterCheck, hostChecks } from '../../doctor/checks.js';
import type { ClusterFacts } from '../../doctor/facts.js';
import { gatherCluster, type HostPlace } from '../../doctor/gather-cluster.js';
import { gatherHost, needsOf } from '../../doctor/gather-host.js';
import { gatherPaths } from '../../doctor/gather-paths.js';
import { gatherScripts } from '../../doctor/gather-scripts.js';
import { gatherSecrets } from '../../doctor/gather-secrets.js';
import { examine, type Result, type Verdict } from '../../doctor/types.js';
import { UnderstudyError } from '../../errors.js';
import { systemTimers } from '../../store/timers.js';
import { type ClusterOptions, defaultConfig, type Located, locate } from '../cluster.js';
import { colour } from '../colour.js';
import { table } from '../output.js';
import { Progress } from '../progress.js';

export interface DoctorOptions extends ClusterOptions {
  readonly json: boolean;
  readonly all: boolean;
}

interface OwnAgent {
  readonly path: string;
  readonly config: AgentConfig;
}

/** 0: no problem. 1: at least one. Looks; changes nothing. */
export async function run(options: DoctorOptions): Promise<number> {
  const agent = ownAgent(options);
  // Before this process moves into a lab, if there is one.
  const progress = new Progress('looking', process.stderr, systemTimers());
  progress.set(0, 2, 'this host');
  const host = await gatherHost(agent);
  progress.set(1, 2, 'the cluster: etcd, hosts, leases');
  const cluster = await lookAtCluster(options, agent).finally(() => progress.end());
  const config = cluster?.view === undefined ? undefined : configOf(cluster.view);
  const secrets = await gatherSecrets(config, host.host);
  const scripts = gatherScripts(config, host.host);
  const runDirectory = agent?.config.runDirectory ?? '/run/understudy';
  const paths = gatherPaths(config, { namespaces: '/run/netns', nftables: nftNotes(runDirectory) });
  const results = [
    ...examine('host', hostChecks, { ...host, needs: needsOf(config), secrets, scripts, paths }),
    ...(cluster === undefined ? [] : examine('cluster', everyClusterCheck, cluster)),
  ];
  const problems = count(results, 'problem');
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ ok: problems === 0, cluster: cluster?.cluster ?? null, checks: results })}\n`
      : `${doctorText(results, cluster?.cluster, options.all)}\n`,
  );
  return problems === 0 ? 0 : 1;
}

function ownAgent({ config, lab }: DoctorOptions): OwnAgent | undefined {
  const path = config ?? (lab === undefined ? defaultConfig : undefined);
  if (path === undefined || (config === undefined && !existsSync(path))) return undefined;
  return { path, config: readAgentConfig(path) };
}

/** Undefined where this host belongs to no cluster and no lab runs. */
async function lookAtCluster(
  options: DoctorOptions,
  agent: OwnAgent | undefined,
): Promise<ClusterFacts | undefined> {
  let located: Located;
  try {
    located = await locate(options);
  } catch (thrown) {
    if (thrown instanceof UnderstudyError && thrown.code === 'US_NO_CLUSTER') return undefined;
    throw thrown;
  }
  const { EtcdStore } = await import('../../store/etcd.js');
  const { name, store: settings } = located;
  const prefix = `/understudy/${name}/`;
  const store = new EtcdStore({ ...settings, prefix, identity: `doctor-${process.pid}` });
  try {
    const places = await placesOf(located, agent);
    return await gatherCluster(name, settings, store, places, options.signal);
  } finally {
    await store.stop();
  }
}

/** In a lab every host with power; else this one. */
async function placesOf(
  { lab: state }: Located,
  agent: OwnAgent | undefined,
): Promise<readonly HostPlace[]> {
  if (state === undefined) {
    if (agent === undefined) return [];
    const { host, pulseSocket } = agent.config;
    return [{ host, pulseSocket, proc: '/proc', network: '/proc/self/ns/net' }];
  }
  const { Lab } = await import('../../lab/lab.js');
  const lab = Lab.attach(state);
  return state.plan.hosts.flatMap(({ name: host }) => {
    const pid = lab.pidOf(host);
    if (pid === undefined) return [];
    const root = `/proc/${pid}/root`;
    return [
      {
        host,
        pulseSocket: `${root}/run/understudy/pulse.sock`,
        proc: `${root}/proc`,
        network: `/proc/${pid}/ns/net`,
      },
    ];
  });
}

const order: readonly Verdict[] = ['problem', 'warning', 'ok', 'not-applicable'];
const words: Readonly<Record<Verdict, string>> = {
  problem: colour.red('problem'),
  warning: colour.yellow('warning'),
  ok: colour.green('ok'),
  'not-applicable': colour.dim('-'),
};

/** Problems first, each with what to do; what is in order only when asked for. */
export function doctorText(
  results: readonly Result[],
  cluster: string | undefined,
  all: boolean,
): string {
  const shown = results
    .filter(({ verdict }) => all || verdict === 'problem' || verdict === 'warning')
    .sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict));
  const troubled = shown.filter(({ remedy }) => remedy !== '');
  return [
    ...troubled.map(
      ({ verdict, title, saw, remedy, id }) =>
        `${words[verdict]}  ${colour.bold(title)} (${id})\n  saw: ${saw}\n  do:  ${remedy}`,
    ),
    ...(all
      ? [
          table(
            shown
              .filter(({ remedy }) => remedy === '')
              .map(({ verdict, title, saw, id }) => [words[verdict], id, title, saw]),
          ),
        ]
      : []),
    totals(results, cluster),
  ].join('\n\n');
}

function totals(results: readonly Result[], cluster: string | undefined): string {
  const where =
    cluster === undefined
      ? 'this host; no cluster is known here'
      : `this host and cluster ${cluster}`;
  const [problems, warnings] = [count(results, 'problem'), count(results, 'warning')];
  return `${results.length} checks of ${where}: ${plural(problems, 'problem')}, ${plural(warnings, 'warning')}, ${count(results, 'ok')} in order, ${count(results, 'not-applicable')} not applicable here`;
}

function plural(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

function count(results: readonly Result[], verdict: Verdict): number {
  return results.filter((one) => one.verdict === verdict).length;
}
