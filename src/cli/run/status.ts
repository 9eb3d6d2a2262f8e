import { statusOfView } from '../../agent/cluster-status.js';
import type { Phase } from '../../control/records.js';
import type { HostStatus, MemberTraffic, Status } from '../../control/status.js';
import type { View } from '../../control/view.js';
import { UnderstudyError } from '../../errors.js';
import { systemTimers } from '../../store/timers.js';
import { type Cluster, type ClusterOptions, withCluster } from '../cluster.js';
import { colour } from '../colour.js';
import { table } from '../output.js';
import { watchStatus } from '../watch-status.js';

export interface StatusOptions extends ClusterOptions {
  readonly json: boolean;
  readonly watch: boolean;
}

const clearScreen = '\x1b[H\x1b[2J';

/** 4: no leader. Exit codes of every command are in docs/reference/cli.md. */
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
  const source = new ClusterWatch(cluster.store);
  source.start(options.signal);
  const { stdout } = process;
  await watchStatus(
    {
      source,
      timers: systemTimers(),
      leader: () => cluster.leader(),
      statusOf: statusOfView,
      show: (status) => {
        if (stdout.isTTY && !options.json) stdout.write(clearScreen);
        print(status, options.json);
      },
    },
    options.signal,
  );
  return 0;
}

function print(status: Status, json: boolean): void {
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : `${statusText(status)}\n`);
}

function headline({ cluster, leader, quorum }: Status): string {
  if (!quorum) {
    return `cluster ${cluster}: ${colour.red('the store gives no answer (no quorum)')}: failovers wait, traffic goes on; below is what was known last`;
  }
  const none = colour.yellow('none: nothing is placed or moved on purpose; failovers go on');
  return `cluster ${cluster}, leader ${leader ?? none}`;
}

function changeText({ controllersChange: change }: Status): readonly string[] {
  if (change === null) return [];
  const from = change.from === null ? '' : `${change.from.join(', ')} → `;
  const what = `controllers change, ${from}${change.to.join(', ')}`;
  return [`${colour.yellow(what)}\n${change.phase}: ${change.reason}`];
}

/** What an operator should know of a host that is up: why it takes no part, or gets nothing. */
function hostText({ controller, granting, state, votes, reason }: HostStatus): string {
  if (state === 'up') {
    if (votes.length > 0) return colour.yellow(`up, voted by ${votes.join(', ')}`);
    return controller && !granting ? colour.yellow('up, starting') : colour.green('up');
  }
  if (state === 'drained') return colour.yellow(state);
  return colour.red(reason === '' ? state : `${state}, ${reason}`);
}

function phaseText(phase: Phase): string {
  if (phase === 'running') return colour.green(phase);
  return phase === 'failed' || phase === 'unplaced' ? colour.red(phase) : colour.yellow(phase);
}

function memberCells({ packets, bytes, newFlows, perSecond }: MemberTraffic): readonly string[] {
  const counted = [packets, bytes, newFlows];
  const rates = perSecond === null ? [] : [perSecond.packets, perSecond.newFlows];
  return [...counted, ...rates].map(String);
}

/** What each dispatcher counted; of what was dropped, the reasons that occurred. */
function trafficRows({ services }: Status): readonly string[][] {
  return services.flatMap(({ name, members, traffic }) => {
    if (traffic === null) return [];
    const dropped = Object.entries(traffic.dropped).filter(([, packets]) => packets > 0);
    return [
      ...members.flatMap(({ personality, traffic: to }) =>
        to === null ? [] : [[name, personality, ...memberCells(to)]],
      ),
      [name, 'the stack', `${traffic.passed}`, '', ''],
      ...dropped.map(([reason, packets]) => [name, `nobody: ${reason}`, `${packets}`, '', '']),
    ];
  });
}

const via = (nextHops: readonly string[]) => (nextHops.length === 0 ? [] : [nextHops.join(' ')]);

/** What a person reads: what needs attention stands first in each row. */
export function statusText(status: Status): string {
  const parts = [
    headline(status),
    ...changeText(status),
    table([
      ['HOST', 'STATE', 'POOL', 'INCARNATION', 'CARRIES'],
      ...status.hosts.map((host) => [
        host.name,
        hostText(host),
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
        phaseText(one.phase),
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
      volume.reservation ?? 'mask',
    ]),
  );
  if (volumes.length > 0) {
    parts.push(
      table([['PERSONALITY', 'LUN', 'IS', 'DEVICE', 'MOUNT', 'SERIAL', 'FENCE'], ...volumes]),
    );
  }
  if (status.services.length > 0) {
    parts.push(
      table([
        ['SERVICE', 'PHASE', 'DISPATCHER', 'ADDRESS', 'MEMBERS'],
        ...status.services.map((service) => [
          service.name,
          phaseText(service.phase),
          service.dispatcher ?? '-',
          [service.addresses.join(' '), ...via(service.nextHops)].join(' via '),
          service.members
            .map(({ personality, health, slots }) => `${personality} ${health} ${slots} slots`)
            .join(', '),
        ]),
      ]),
    );
  }
  const traffic = trafficRows(status);
  if (traffic.length > 0)
    parts.push(
      table([
        ['SERVICE', 'PACKETS TO', 'PACKETS', 'BYTES', 'NEW FLOWS', 'PACKETS/S', 'FLOWS/S'],
        ...traffic,
      ]),
    );
  for (const { name, members, traffic: counted, dispatcher } of status.services) {
    if (counted?.by === 'nftables') {
      parts.push(
        `${name} is dispatched by nftables on ${dispatcher}: a change of its members breaks connections that it moves`,
      );
    }
    for (const { personality, health, reason } of members) {
      if (health === 'down') parts.push(`${personality} is down as a member of ${name}: ${reason}`);
    }
  }
  const drained = status.hosts.flatMap(({ name, state }) => (state === 'drained' ? [name] : []));
  const troubled = status.personalities.filter(
    ({ phase, host, failures, volumes }) =>
      phase !== 'running' ||
      drained.includes(host ?? '') ||
      failures !== null ||
      volumes.some(({ trouble }) => trouble !== undefined),
  );
  for (const { name, phase, reason } of troubled) parts.push(`${name} is ${phase}: ${reason}`);
  return parts.join('\n\n');
}
