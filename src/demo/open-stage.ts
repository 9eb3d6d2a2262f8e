import { ClusterWatch } from '../agent/cluster-watch.js';
import { statusFrom } from '../cli/run/status.js';
import { whichOf } from '../cli/run/which.js';
import type { ClusterConfig, LabConfig } from '../config/types.js';
import type { Timeline } from '../control/timeline.js';
import { timelinesOf } from '../control/timeline.js';
import { configOf } from '../control/view.js';
import { within } from '../deadline.js';
import { Lab, type LabOptions } from '../lab/lab.js';
import { judgeOf } from '../lab/lab-judge.js';
import { switchNode } from '../lab/plan.js';
import { GuestCapture } from '../observe/guest-capture.js';
import { Capture } from '../observe/observers.js';
import { EtcdStore } from '../store/etcd.js';
import type { Claims } from './claims.js';
import { paces } from './pace.js';
import type { DemoLab, Stage, Wire } from './stage.js';

/** Starts the lab, waits until everything runs, and gives the demonstration its stage. */
export async function openStage(
  config: ClusterConfig,
  labConfig: LabConfig,
  claims: Claims,
  say: (line: string) => void,
  signal: AbortSignal,
  settings: Pick<LabOptions, 'agentSettings' | 'hostInit' | 'programs' | 'settleMs'> = {},
): Promise<{ stage: Stage; lab: Lab; close(): Promise<void> }> {
  const name = `${config.cluster}-${process.pid}`;
  const lab = await Lab.up({ config, lab: labConfig, name, signal, say, ...settings });
  const stop = new AbortController();
  const store = new EtcdStore({
    endpoints: lab.endpoints,
    prefix: `/understudy/${config.cluster}/`,
    identity: 'demo',
  });
  const close = async () => {
    stop.abort();
    await store.stop();
    await lab.down();
  };
  try {
    await store.start(signal);
    const watch = new ClusterWatch(store);
    watch.start(AbortSignal.any([signal, stop.signal]));
    await watch.until(() => configOf(watch.view) !== undefined, within(10_000));
    return { stage: stageOf(lab, store, watch, claims, say, signal), lab, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

function stageOf(
  lab: Lab,
  store: EtcdStore,
  watch: ClusterWatch,
  claims: Claims,
  say: (line: string) => void,
  signal: AbortSignal,
): Stage {
  const status = async () => statusFrom(watch.view, await store.holder('leader'));
  const bounded = (timeoutMs: number) => within(timeoutMs, signal);
  const config = configOf(watch.view);
  if (config === undefined) throw new Error('no definition is applied');
  return {
    lab: demoLab(lab, config, watch),
    claims,
    config,
    pace: paces[lab.plan.backend],
    signal,
    status,
    until: async (what, condition, timeoutMs) => {
      const holds = () => condition(statusFrom(watch.view, undefined));
      await watch.until(holds, bounded(timeoutMs)).catch((thrown: unknown) => {
        throw new Error(`waited ${timeoutMs} ms in vain until ${what}`, { cause: thrown });
      });
      return status();
    },
    failover: async (name, epoch, timeoutMs): Promise<Timeline> => {
      const find = () =>
        timelinesOf(watch.view).find(
          (one) =>
            one.personality === name &&
            one.epoch >= epoch &&
            one.outcome !== 'running' &&
            one.verifiedBy !== null,
        );
      await watch.until(() => find() !== undefined, bounded(timeoutMs)).catch(() => undefined);
      const found = find() ?? timelinesOf(watch.view).find((one) => one.personality === name);
      if (found === undefined) throw new Error(`no record of a failover of ${name}`);
      return found;
    },
    which: async (service, client) => whichOf(watch.view, service, client),
    say,
  };
}

function demoLab(lab: Lab, config: ClusterConfig, watch: ClusterWatch): DemoLab {
  /** A node is a place in the lab, or a personality wherever it is now. */
  const command = (node: string, argv: readonly string[]) => {
    const host = watch.view.assignments.get(`personality/${node}`)?.value.host;
    return host === null || host === undefined
      ? lab.command(node, argv)
      : lab.personalityCommand(host, node, argv);
  };
  const exec: DemoLab['exec'] = (node, argv) => lab.exec(command(node, argv));
  /** A node that is no machine of its own, whatever hosts are: the lab's, or a client. */
  const isBeside = (node: string) =>
    lab.nodes.includes(node) && !lab.plan.hosts.some(({ name }) => name === node);
  const demo: DemoLab = {
    exec,
    spawn: (node, argv) => lab.spawn(command(node, argv)),
    kill: (host) => lab.kill(host),
    start: (host) => lab.start(host),
    backingFile: (target, lun) => lab.backingFile(target, lun),
    underlayAddress: (host) => config.hosts.find(({ name }) => name === host)?.address ?? '',
    edge: (network) => {
      const edge = lab.plan.edges.find((found) => found.network === network);
      if (edge === undefined) throw new Error(`network ${network} has no clients`);
      return edge;
    },
    capture: (node, device, filter) =>
      lab.plan.backend === 'vm' && !isBeside(node)
        ? new GuestCapture({ exec }, node, device, filter)
        : new Capture(demo, node, device, filter),
    ports: lab.plan.hosts.map(({ name: host, ports }) => {
      return { host, node: switchNode, device: ports.eth1 };
    }),
    watchWire: () => wireOf(lab, config),
  };
  return demo;
}

function wireOf(lab: Lab, config: ClusterConfig): Wire {
  const judge = judgeOf(lab, config);
  return {
    senders: (mac, sinceMs = 0) => {
      judge.verdict(); // reads what has come
      const frames = new Map<string, number>();
      const since = BigInt(Math.floor(sinceMs)) * 1_000_000n;
      for (const { port, lastNs, frames: count } of judge.sightings.tenures(mac)) {
        if (lastNs > since) frames.set(port, (frames.get(port) ?? 0) + count);
      }
      return frames;
    },
    stop: () => judge.stop(),
  };
}
