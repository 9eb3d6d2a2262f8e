import { sharedName } from '../config/dispatchers.js';
import type { ClusterConfig, ServiceConfig } from '../config/types.js';
import { type ControllersChange, controllersChange } from './controllers-change.js';
import { electorateOf, electorsOf } from './electorate.js';
import { awaited } from './moving.js';
import type {
  MemberRate,
  PersonalityReport,
  Phase,
  TrafficReport,
  VolumeReport,
} from './records.js';
import { currentReport } from './reports.js';
import { slowStartSteps, startingWeight } from './slow-start.js';
import { incarnationId, type Role, type View } from './view.js';
import { isShutOut, standingVotes } from './votes.js';
import { keptByDrain, waitingFor } from './waiting.js';

/** `status --json`: the shape that scripts rely on. */
export interface Status {
  readonly cluster: string;
  readonly leader: string | null;
  readonly quorum: boolean;
  /** The controllers are being changed; null: they are not. */
  readonly controllersChange: ControllersChange | null;
  readonly hosts: readonly HostStatus[];
  readonly personalities: readonly PersonalityStatus[];
  readonly services: readonly ServiceStatus[];
}

export interface HostStatus {
  readonly name: string;
  readonly state: 'up' | 'expired' | 'fenced' | 'drained' | 'down';
  readonly pool: string | null;
  readonly incarnation: number;
  readonly controller: boolean;
  /** Of a controller that is up: it takes part in majorities again. */
  readonly granting: boolean;
  /** Controllers whose votes stand against it. While any does, nothing is placed on it. */
  readonly votes: readonly string[];
  /** Of one that is down: why, as far as it said so itself; else ''. */
  readonly reason: string;
  readonly personalities: readonly string[];
  readonly dispatches: readonly string[];
}

export interface PersonalityStatus {
  readonly name: string;
  readonly host: string | null;
  readonly epoch: number;
  readonly phase: Phase;
  readonly reason: string;
  readonly interfaces: readonly {
    readonly network: string;
    readonly mac: string;
    readonly addresses: readonly string[];
  }[];
  readonly volumes: readonly VolumeReport[];
  /** Ends of its workload in a row; null: it is well. */
  readonly failures: { readonly count: number; readonly last: string } | null;
}

export interface ServiceStatus {
  readonly name: string;
  readonly network: string;
  readonly address: string;
  readonly addresses: readonly string[];
  /** Of one of several dispatchers: where routers send to. */
  readonly nextHops: readonly string[];
  readonly mac: string;
  readonly dispatcher: string | null;
  readonly epoch: number;
  readonly phase: Phase;
  readonly members: readonly {
    readonly personality: string;
    readonly weight: number;
    readonly health: 'up' | 'down' | 'draining';
    /** Why it gets no new flows (down, weight 0, stands by); '' for one that does. */
    readonly reason: string;
    readonly slots: number;
    /** Sent on to it by this dispatcher; null where that is not told. */
    readonly traffic: MemberTraffic | null;
  }[];
  /** What its dispatcher has counted since it is the dispatcher, some seconds ago; null until it is told. */
  readonly traffic: ServiceTraffic | null;
}

export interface MemberTraffic extends MemberRate {
  /** Of late; null until it was counted twice. */
  readonly perSecond: MemberRate | null;
}
export interface ServiceTraffic extends Pick<TrafficReport, 'received' | 'passed' | 'dropped'> {
  /** Absent: BPF. */
  readonly by?: 'nftables' | undefined;
}

/** Slots of each member, counted by whoever knows the table. */
export type SlotCounter = (service: string) => ReadonlyMap<string, number>;

/** The whole picture, from what the store holds. `leader` and `quorum` come from asking it. */
export function statusOf(
  view: View,
  config: ClusterConfig,
  leader: string | undefined,
  slots: SlotCounter,
): Status {
  return {
    cluster: config.cluster,
    leader: leader ?? null,
    quorum: true,
    controllersChange: controllersChange(view) ?? null,
    hosts: config.hosts.map((host) => hostStatus(view, host.name, host.pool)),
    personalities: config.personalities.map((personality) => {
      const assignment = view.assignments.get(`personality/${personality.name}`)?.value;
      const report = reportOf(view, personality.name);
      const role: Role = { kind: 'personality', name: personality.name };
      const waiting = waitingFor(view, config, role);
      // Asked to move, it runs until all who are needed then have answered.
      const stays = assignment?.state === 'draining' ? awaited(view, role)?.reason : undefined;
      return {
        name: personality.name,
        host: assignment?.host ?? null,
        epoch: assignment?.epoch ?? 0,
        phase:
          waiting === undefined
            ? phaseOf(
                assignment?.host ?? null,
                stays === undefined ? assignment?.state : 'assigned',
                report?.phase,
              )
            : 'failed',
        reason:
          waiting ||
          (stays && `to move to ${assignment?.to}: ${stays}`) ||
          report?.detail ||
          failingText(report) ||
          standsStillText(report) ||
          keptByDrain(view, config, role) ||
          (assignment?.reason ?? 'waiting for the leader to place it'),
        interfaces: personality.networks.map(({ network, mac, addresses }) => ({
          network,
          mac,
          addresses,
        })),
        volumes: report?.volumes ?? [],
        failures: report?.failures ?? null,
      };
    }),
    services: config.services.map((service) => {
      const assignment = view.assignments.get(`service/${service.name}`)?.value;
      const report = currentReport(view, assignment?.host, assignment?.incarnation)?.services.find(
        (found) => found.name === service.name && found.epoch === assignment?.epoch,
      );
      const counts = slots(service.name);
      const traffic = trafficOf(view, service.name);
      return {
        name: service.name,
        network: service.network,
        address: service.addresses[0] ?? '',
        addresses: service.addresses,
        nextHops: service.nextHops ?? [],
        mac: service.mac,
        dispatcher: assignment?.host ?? null,
        epoch: assignment?.epoch ?? 0,
        phase: phaseOf(assignment?.host ?? null, assignment?.state, report?.phase),
        members: service.members.map(({ personality, weight }) => ({
          personality,
          weight,
          health: memberHealth(view, sharedName(service), personality, weight),
          reason: memberReason(view, service, personality, weight),
          slots: counts.get(personality) ?? 0,
          traffic: memberTraffic(traffic, personality),
        })),
        traffic: traffic && {
          received: traffic.received,
          passed: traffic.passed,
          dropped: traffic.dropped,
          ...(traffic.by === undefined ? {} : { by: traffic.by }),
        },
      };
    }),
  };
}

const failingText = (report: PersonalityReport | undefined): string =>
  report?.failures === undefined
    ? ''
    : `its workload failed, ${report.failures.count} in a row: ${report.failures.last}`;

function standsStillText(report: PersonalityReport | undefined): string {
  const still = report?.volumes.filter(({ trouble }) => trouble !== undefined) ?? [];
  return still.map(({ name, trouble }) => `${name} stands still: ${trouble}`).join('; ');
}

function hostStatus(view: View, name: string, pool: string | null) {
  const record = view.hosts.get(name)?.value;
  const state = hostState(view, name);
  const votes = record === undefined ? [] : standingVotes(view, name, record.incarnation);
  const silent = state === 'expired' || state === 'fenced';
  const held = (kind: string) =>
    [...view.assignments]
      .filter(([id, { value }]) => id.startsWith(`${kind}/`) && value.host === name)
      .map(([id]) => id.slice(kind.length + 1))
      .sort();
  return {
    name,
    state,
    pool,
    incarnation: record?.incarnation ?? 0,
    controller: isController(view, name),
    // What a host said last holds as long as it is heard.
    granting: !silent && (currentReport(view, name, record?.incarnation)?.granting ?? false),
    votes: votes.map(({ controller }) => controller),
    // With nothing that works it let its lease run out: the machine may be well.
    reason: silent && votes.some(({ agentAway }) => agentAway) ? 'its agent was away' : '',
    personalities: held('personality'),
    dispatches: held('service'),
  };
}

function isController(view: View, name: string): boolean {
  return view.config !== undefined && electorsOf(electorateOf(view.config.value)).includes(name);
}

function hostState(view: View, name: string): HostStatus['state'] {
  const record = view.hosts.get(name)?.value;
  if (record === undefined) return 'down';
  const id = incarnationId(name, record.incarnation);
  if (view.retired.has(id) || view.fenced.has(id)) return 'fenced';
  if (isShutOut(view, name, record.incarnation)) return 'expired';
  return view.drained.has(name) ? 'drained' : 'up';
}

/** What the owner of the newest epoch says of a personality. */
export function reportOf(view: View, personality: string): PersonalityReport | undefined {
  const assignment = view.assignments.get(`personality/${personality}`)?.value;
  return currentReport(view, assignment?.host, assignment?.incarnation)?.personalities.find(
    (found) => found.name === personality && found.epoch === assignment?.epoch,
  );
}

function phaseOf(
  host: string | null,
  state: string | undefined,
  reported: Phase | undefined,
): Phase {
  if (host === null) return 'unplaced';
  if (state === 'draining') return 'stopping';
  return reported ?? 'starting';
}

/**
 * Health of a member as the dispatcher takes it. A member that is being failed over keeps its last
 * place in the table: its replacement has the same vMAC, and its flows must not move.
 */
export function memberHealth(
  view: View,
  service: string,
  personality: string,
  weight: number,
): 'up' | 'down' | 'draining' {
  if (weight === 0) return 'draining';
  return reportedHealth(view, service, personality)?.up === false ? 'down' : 'up';
}

/** Why a member gets no new flows; '' for one that does. */
export function memberReason(
  view: View,
  service: ServiceConfig,
  personality: string,
  weight: number,
): string {
  if (weight === 0) return 'its weight is 0';
  const health = reportedHealth(view, sharedName(service), personality);
  if (health?.up === false) return health.why ?? 'its health checks fail';
  if (health?.step !== undefined)
    return `slow start: ${health.step}/${slowStartSteps} of its weight`;
  const owner = ownerOf(view, service);
  return owner === undefined || owner === personality ? '' : `stands by for ${owner}`;
}

/** By what a member's slots are dealt: its weight, or the part of it that it has after it came back. */
export function weightNow(
  view: View,
  service: string,
  { personality, weight }: ServiceConfig['members'][number],
): number {
  return startingWeight(weight, reportedHealth(view, service, personality)?.step);
}

/**
 * Who has all flows of a service that is not balanced: the first member that is up. Undefined: they are
 * shared, or nobody is up. One that comes back has them again; those of its stand-in drain.
 */
export function ownerOf(view: View, service: ServiceConfig): string | undefined {
  const { balance, members } = service;
  if (balance !== 'none') return undefined;
  const isUp = ({ personality, weight }: ServiceConfig['members'][number]) =>
    memberHealth(view, sharedName(service), personality, weight) === 'up';
  return members.find(isUp)?.personality;
}

/** What the service's dispatcher said last. */
export function trafficOf(view: View, service: string): TrafficReport | null {
  const assignment = view.assignments.get(`service/${service}`)?.value;
  const report = currentReport(view, assignment?.host, assignment?.incarnation);
  return report?.traffic?.find((found) => found.service === service) ?? null;
}

export function memberTraffic(
  traffic: TrafficReport | null,
  personality: string,
): MemberTraffic | null {
  const found = traffic?.forwarded.find((one) => one.personality === personality);
  if (found === undefined) return null;
  const { packets, bytes, newFlows, perSecond = null } = found;
  return { packets, bytes, newFlows, perSecond };
}

/** As its own host sees it. */
function reportedHealth(view: View, service: string, personality: string) {
  const assignment = view.assignments.get(`personality/${personality}`)?.value;
  return currentReport(view, assignment?.host, assignment?.incarnation)?.health.find(
    (found) =>
      found.service === service &&
      found.personality === personality &&
      found.epoch === assignment?.epoch,
  );
}
