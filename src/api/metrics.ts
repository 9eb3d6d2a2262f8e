import { Counter, Gauge, Registry } from 'prom-client';
import type { TrafficReport } from '../control/records.js';
import type { Status } from '../control/status.js';
import type { Timeline } from '../control/timeline.js';
import type { ApiSource, LeaseFacts } from './types.js';

const hostStates = ['up', 'expired', 'fenced', 'drained', 'down'] as const;
const phases = ['unplaced', 'starting', 'running', 'stopping', 'failed'] as const;

/**
 * The metrics of one scrape, in Prometheus' text format (names and units by its conventions: base
 * units, seconds; what only grows is a counter and ends in `_total`). Made anew each time from what is so now, so that a host or personality that left the
 * cluster file leaves no stale series.
 */
export async function renderMetrics(source: ApiSource): Promise<string> {
  const registry = new Registry();
  const gauge = gauges(registry);
  const counter = counters(registry);
  gauge('build_info', 'Version of this agent', [[{ version: source.version }, 1]]);
  const { store, pulse } = await source.health();
  gauge('store_up', 'Whether the store answers this agent', [[{}, Number(store)]]);
  gauge('pulse_up', 'Whether pulse answers this agent', [[{}, Number(pulse)]]);
  const status = await source.status();
  if (status !== undefined) clusterMetrics(gauge, status);
  failoverMetrics(gauge, source.failovers());
  const change = source.lastChange();
  gauge(
    'last_change_timestamp_seconds',
    'When somebody last changed something, by what (the audit log has the rest)',
    change === undefined ? [] : [[{ what: change.what }, change.atUnixMs / 1_000]],
  );
  dispatchMetrics(counter, await source.dispatched());
  gauge(
    'service_standby_age_seconds',
    'How old what a host was told of this dispatcher’s flows is; none: it has nothing to tell',
    source
      .standbys()
      .flatMap(({ host, ageMs }): Sample[] => (ageMs === null ? [] : [[{ host }, ageMs / 1_000]])),
  );
  const lease = await source.lease();
  if (lease !== undefined) leaseMetrics(gauge, counter, lease);
  return registry.metrics();
}

export const metricsType = new Registry().contentType;

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];
type Add = (name: string, help: string, samples: readonly Sample[]) => void;

const described = (registry: Registry, name: string, help: string, samples: readonly Sample[]) => ({
  name: `understudy_${name}`,
  help,
  labelNames: [...new Set(samples.flatMap(([labels]) => Object.keys(labels)))],
  registers: [registry],
});

function gauges(registry: Registry): Add {
  return (name, help, samples) => {
    const gauge = new Gauge(described(registry, name, help, samples));
    for (const [labels, value] of samples) gauge.set({ ...labels }, value);
  };
}

function counters(registry: Registry): Add {
  return (name, help, samples) => {
    const counter = new Counter(described(registry, `${name}_total`, help, samples));
    for (const [labels, value] of samples) counter.inc({ ...labels }, value);
  };
}

function clusterMetrics(gauge: Add, status: Status): void {
  gauge(
    'host_state',
    'State of each host: 1 for the state it is in',
    status.hosts.flatMap(({ name, state }) =>
      hostStates.map((one): Sample => [{ host: name, state: one }, Number(one === state)]),
    ),
  );
  gauge(
    'controller_granting',
    'Whether a controller takes part in majorities',
    status.hosts.flatMap(({ name, controller, granting }): Sample[] =>
      controller ? [[{ host: name }, Number(granting)]] : [],
    ),
  );
  gauge(
    'personality_phase',
    'Phase of each personality: 1 for the phase it is in',
    status.personalities.flatMap(({ name, phase }) =>
      phases.map((one): Sample => [{ personality: name, phase: one }, Number(one === phase)]),
    ),
  );
  gauge(
    'personality_epoch',
    'Grows with each assignment of a personality',
    status.personalities.map(({ name, epoch }): Sample => [{ personality: name }, epoch]),
  );
  gauge(
    'workload_failures',
    'Ends of a workload in a row, a minute apart at most; 0: it is well',
    status.personalities.map(
      ({ name, failures }): Sample => [{ personality: name }, failures?.count ?? 0],
    ),
  );
  gauge(
    'volume_reachable',
    'Whether one of a volume’s portals answers the host that has it; 0: its writes wait',
    status.personalities.flatMap(({ name, volumes }) =>
      volumes.map(
        (volume): Sample => [
          { personality: name, volume: volume.name },
          volume.trouble === undefined ? 1 : 0,
        ],
      ),
    ),
  );
  gauge('spares', 'Hosts of a pool that are up and carry no personality', spares(status));
  const members = status.services.flatMap((service) =>
    service.members.map((member) => ({
      labels: { service: service.name, personality: member.personality },
      ...member,
    })),
  );
  gauge(
    'service_member_up',
    'Whether a member gets new flows',
    members.map(({ labels, health }): Sample => [labels, Number(health === 'up')]),
  );
  gauge(
    'service_member_slots',
    'Slots of the dispatch table that a member holds',
    members.map(({ labels, slots }): Sample => [labels, slots]),
  );
}

function spares({ hosts }: Status): readonly Sample[] {
  const pools = new Map<string, number>();
  for (const { pool, state, personalities } of hosts) {
    if (pool === null) continue;
    const spare = state === 'up' && personalities.length === 0;
    pools.set(pool, (pools.get(pool) ?? 0) + Number(spare));
  }
  return [...pools].map(([pool, count]) => [{ pool }, count]);
}

/** The newest failover of each personality or service: the store keeps records within a bound. */
function failoverMetrics(gauge: Add, failovers: readonly Timeline[]): void {
  const newest = new Map<string, Timeline>();
  for (const one of failovers) {
    const key = `${one.kind} ${one.personality}`;
    if (!newest.has(key)) newest.set(key, one);
  }
  const labels = (one: Timeline) => ({ kind: one.kind, name: one.personality, cause: one.cause });
  gauge(
    'last_failover_timestamp_seconds',
    'When the newest failover or move was committed',
    [...newest.values()].map((one): Sample => [labels(one), one.atUnixMs / 1_000]),
  );
  gauge(
    'last_failover_duration_seconds',
    'From the last heartbeat that was acknowledged to the end of the newest failover’s last step',
    [...newest.values()].map((one): Sample => {
      return [labels(one), Math.max(0, ...one.steps.map(({ endMs }) => endMs)) / 1_000];
    }),
  );
  gauge(
    'last_failover_ok',
    'Whether the newest failover or move is complete and went well',
    [...newest.values()].map((one): Sample => [labels(one), Number(one.outcome === 'ok')]),
  );
}

/** Of the services that this host dispatches; each packet to a service's MAC is in one of them. */
function dispatchMetrics(counter: Add, services: readonly TrafficReport[]): void {
  const members = services.flatMap(({ service, forwarded }) =>
    forwarded.map((member) => ({
      labels: { service, personality: member.personality },
      ...member,
    })),
  );
  counter(
    'service_forwarded_packets',
    'Packets that this host sent on to a member',
    members.map(({ labels, packets }): Sample => [labels, packets]),
  );
  counter(
    'service_forwarded_bytes',
    'Bytes of the frames that this host sent on to a member',
    members.map(({ labels, bytes }): Sample => [labels, bytes]),
  );
  counter(
    'service_new_flows',
    'Connections that began with a member, and UDP flows where they are sticky',
    members.map(({ labels, newFlows }): Sample => [labels, newFlows]),
  );
  counter(
    'service_passed_packets',
    'Packets to the service’s MAC that the stack got: ARP, echo, other ports',
    services.map(({ service, passed }): Sample => [{ service }, passed]),
  );
  counter(
    'service_dropped_packets',
    'Packets that nobody got, by reason',
    services.flatMap(({ service, dropped }) =>
      Object.entries(dropped).map(([reason, count]): Sample => [{ service, reason }, count]),
    ),
  );
}

/**
 * Pulse counts what happened. What is warned of stands at 0 before: to `increase` a series that begins at 7
 * has not grown (https://prometheus.io/docs/prometheus/latest/querying/functions/#increase).
 */
const fromTheStart = { forged: 0, malformed: 0 };

function leaseMetrics(gauge: Add, counter: Add, lease: LeaseFacts): void {
  if (lease.remainingMs !== null) {
    gauge('lease_remaining_seconds', 'Until this host falls silent if nothing renews its lease', [
      [{}, lease.remainingMs / 1_000],
    ]);
  }
  gauge(
    'last_ack_age_seconds',
    'On a controller: since each host was last acknowledged',
    lease.hosts.flatMap(({ host, lastAckAgoMs }): Sample[] =>
      lastAckAgoMs === null ? [] : [[{ host }, lastAckAgoMs / 1_000]],
    ),
  );
  counter(
    'pulse_packets',
    'What pulse counted since its start, by what became of a packet',
    Object.entries({ ...fromTheStart, ...lease.counters }).map(
      ([what, count]): Sample => [{ what }, count],
    ),
  );
}
