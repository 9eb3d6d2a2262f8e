import { statusOfView } from '../../agent/cluster-status.js';
import type { HostStatus, Status } from '../../control/status.js';
import { configOf, type View } from '../../control/view.js';
import { UnderstudyError } from '../../errors.js';
import { type Cluster, type ClusterOptions, withCluster } from '../cluster.js';
import { table } from '../output.js';

export interface StatusOptions extends ClusterOptions {
  readonly json: boolean;
  readonly watch: boolean;
}

/** Exit codes of every command: src/cli/README in docs/reference. 4 means no leader or no quorum. */
export async function run(options: StatusOptions): Promise<number> {
  return withCluster(options, async (cluster) => {
    if (options.watch) return watch(cluster, options);
    const status = await readStatus(cluster);
    print(status, options.json);
    return status.leader === null ? 4 : 0;
  });
}

/** One linearizable look at the store. */
export async function readStatus(cluster: Cluster): Promise<Status> {
  const [view, leader] = await Promise.all([cluster.view(), cluster.leader()]);
  return statusFrom(view, leader);
}

export function statusFrom(view: View, leader: string | undefined): Status {
  const status = statusOfView(view, leader);
  if (status === undefined) {
    throw new UnderstudyError({
      code: 'US_NOT_APPLIED',
      action: 'cannot show',
      object: 'status',
      cause: 'no cluster file has been applied',
      remedy: 'understudy apply FILE',
    });
  }
  return status;
}

async function watch(cluster: Cluster, options: StatusOptions): Promise<number> {
  const { ClusterWatch } = await import('../../agent/cluster-watch.js');
  const watching = new ClusterWatch(cluster.store);
  let shown = '';
  watching.onChange((view) => {
    void cluster.leader().then((leader) => {
      if (configOf(view) === undefined) return;
      const status = statusFrom(view, leader);
      const text = JSON.stringify(status);
      if (text === shown) return;
      shown = text;
      if (process.stdout.isTTY && !options.json) process.stdout.write('\x1b[2J\x1b[H');
      print(status, options.json);
    });
  });
  watching.start(options.signal);
  await new Promise<void>((resolve) => {
    options.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  return 0;
}

function print(status: Status, json: boolean): void {
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : `${statusText(status)}\n`);
}

/** What an operator should know of a host that is up: why it takes no part, or gets nothing. */
function stateText({ state, controller, granting, votes }: HostStatus): string {
  if (state !== 'up') return state;
  if (votes.length > 0) return `up, voted by ${votes.join(', ')}`;
  return controller && !granting ? 'up, starting' : state;
}

/** What a person reads: what needs attention stands first in each row. */
export function statusText(status: Status): string {
  const parts = [
    `cluster ${status.cluster}, leader ${status.leader ?? 'none: nothing is placed or moved on purpose; failovers go on'}`,
    table([
      ['HOST', 'STATE', 'POOL', 'INCARNATION', 'CARRIES'],
      ...status.hosts.map((host) => [
        host.name,
        stateText(host),
        host.pool ?? 'none',
        String(host.incarnation),
        [...host.personalities, ...host.dispatches.map((name) => `dispatches ${name}`)].join(
          ', ',
        ) || (host.pool === null ? '' : 'spare'),
      ]),
    ]),
    table([
      ['PERSONALITY', 'PHASE', 'HOST', 'EPOCH', 'ADDRESSES', 'MAC'],
      ...status.personalities.map((one) => [
        one.name,
        one.phase,
        one.host ?? '-',
        String(one.epoch),
        one.interfaces.flatMap(({ addresses }) => addresses).join(' '),
        one.interfaces.map(({ mac }) => mac).join(' '),
      ]),
    ]),
  ];
  const volumes = status.personalities.flatMap((one) =>
    one.volumes.map((volume) => [
      one.name,
      String(volume.lun),
      `${volume.portal} ${volume.target} LUN ${volume.targetLun}`,
      volume.device,
      volume.mount,
      volume.serial,
    ]),
  );
  if (volumes.length > 0) {
    parts.push(table([['PERSONALITY', 'LUN', 'IS', 'DEVICE', 'MOUNT', 'SERIAL'], ...volumes]));
  }
  if (status.services.length > 0) {
    parts.push(
      table([
        ['SERVICE', 'PHASE', 'DISPATCHER', 'ADDRESS', 'MEMBERS'],
        ...status.services.map((service) => [
          service.name,
          service.phase,
          service.dispatcher ?? '-',
          service.addresses.join(' '),
          service.members
            .map(({ personality, health, slots }) => `${personality} ${health} ${slots} slots`)
            .join(', '),
        ]),
      ]),
    );
  }
  const troubled = status.personalities.filter(({ phase }) => phase !== 'running');
  for (const { name, phase, reason } of troubled) parts.push(`${name} is ${phase}: ${reason}`);
  return parts.join('\n\n');
}
