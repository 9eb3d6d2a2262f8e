import { known } from './cluster-checks.js';
import type { ClusterFacts, DaemonFacts, PulseFacts } from './facts.js';
import { type Check, notApplicable, ok, problem, warning } from './types.js';

/** Heartbeats a lease should outlast: with fewer, one lost frame and a busy moment end it. */
const fewHeartbeats = 4;
/** Part of a lease that may have passed when the next acknowledgement comes. */
const worrying = 0.6;
const alarming = 0.85;

interface Answering extends DaemonFacts {
  readonly pulse: PulseFacts;
}

const answers = (one: DaemonFacts): one is Answering => one.pulse.trouble === undefined;

/** Pulse, agent, and how near leases come to their end. */
export const leaseChecks: readonly Check<ClusterFacts>[] = [
  {
    id: 'lease-pulse',
    title: 'pulse answers',
    judge: ({ daemons }) => {
      if (daemons.length === 0)
        return notApplicable('no host of the cluster can be asked from here');
      const silent = daemons.filter((one) => !answers(one));
      return silent.length === 0
        ? ok(namesOf(daemons))
        : problem(
            silent.map(({ host, pulse }) => `${host}: ${pulse.trouble}`).join('; '),
            'systemctl restart understudy-pulse there: a host without pulse loses its lease',
          );
    },
  },
  {
    id: 'lease-agent',
    title: 'agent runs',
    judge: ({ daemons }) => {
      if (daemons.length === 0)
        return notApplicable('no host of the cluster can be asked from here');
      const absent = daemons.filter(({ agent }) => !agent);
      return absent.length === 0
        ? ok(namesOf(daemons))
        : problem(
            `no agent on ${namesOf(absent)}: it can take over nothing`,
            'systemctl restart understudy-agent there',
          );
    },
  },
  {
    id: 'lease-held',
    title: 'leases held',
    judge: ({ daemons }) => {
      const running = daemons.filter(answers);
      if (running.length === 0) return notApplicable('no pulse can be asked from here');
      const without = running.filter(({ pulse }) => pulse.leastLeftMs <= 0);
      return without.length === 0
        ? ok(namesOf(running))
        : problem(
            `no lease, or one that ran out while it was looked at: ${namesOf(without)}`,
            'see the internal network to the controllers (UDP port of pulse), and that they grant',
          );
    },
  },
  {
    id: 'lease-margin',
    title: 'heartbeats against the lease',
    judge: (facts) =>
      known(facts, ({ config }) => {
        const { leaseMs, heartbeatMs } = config.timing;
        const left = facts.daemons
          .filter(answers)
          .map(({ host, pulse: { leastLeftMs } }) => ({ host, leastLeftMs }))
          .filter(({ leastLeftMs }) => leastLeftMs > 0)
          .sort((a, b) => a.leastLeftMs - b.leastLeftMs);
        const [nearest] = left;
        if (nearest === undefined) return notApplicable('no lease can be looked at from here');
        // What was used up is the heartbeat's period and the way there and back.
        const usedMs = leaseMs - nearest.leastLeftMs;
        const saw = `${nearest.host} used up to ${Math.round(usedMs)} of ${leaseMs} ms (period ${heartbeatMs} ms and the way there and back)`;
        const remedy = `find the delay (a busy host, a slow network), or lengthen timing.lease`;
        if (usedMs >= alarming * leaseMs) return problem(saw, remedy);
        return usedMs >= worrying * leaseMs ? warning(saw, remedy) : ok(saw);
      }),
  },
  {
    id: 'lease-timing',
    title: 'time-outs',
    judge: (facts) =>
      known(facts, ({ config }) => {
        const { leaseMs, heartbeatMs } = config.timing;
        const saw = `a lease of ${leaseMs} ms is ${(leaseMs / heartbeatMs).toFixed(1)} heartbeats of ${heartbeatMs} ms`;
        return leaseMs >= fewHeartbeats * heartbeatMs
          ? ok(saw)
          : warning(saw, `timing: a lease of ${fewHeartbeats} heartbeats or more`);
      }),
  },
  {
    id: 'lease-realtime',
    title: 'scheduling of pulse',
    judge: ({ daemons }) => {
      const running = daemons.filter(answers);
      if (running.length === 0) return notApplicable('no pulse can be asked from here');
      const ordinary = running.filter(({ pulse }) => !pulse.realTime);
      return ordinary.length === 0
        ? ok('real-time')
        : warning(
            `not real-time on ${namesOf(ordinary)}: a busy host may lose its lease`,
            'CAP_SYS_NICE and LimitRTPRIO=1 for pulse; realtime: true in pulse.yaml',
          );
    },
  },
];

function namesOf(list: readonly { readonly host: string }[]): string {
  return list.map(({ host }) => host).join(', ');
}
