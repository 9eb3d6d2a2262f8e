import type { ClusterConfig } from '../config/types.js';
import { reportOf } from '../control/status.js';
import { configOf, type View } from '../control/view.js';
import { messageOf } from '../errors.js';
import type { NetworkAdapter } from '../network/types.js';
import type { Timers } from '../store/timers.js';
import type { Clock } from './clock.js';
import type { ClusterWatch } from './cluster-watch.js';
import type { Deliveries } from './deliveries.js';
import { type Journal, StepTimer } from './journal.js';
import { type Log, Loop } from './loop.js';

const probeTimeoutMs = 1_000;

/** Something to be asked of the network by this host. */
export interface Check {
  readonly failover: string;
  readonly personality: string;
  /** Personality on this host from whose NIC the question goes out. */
  readonly from: string;
  readonly network: string;
  readonly address: string;
  readonly mac: string;
}

/**
 * Verifies takeovers from outside: another member of the same virtual LAN, on another host, asks
 * for the address and looks whether the answer carries the vMAC.
 */
export class Verifier {
  readonly #parts: VerifierParts;
  readonly #loop: Loop;
  readonly #done = new Set<string>();

  constructor(parts: VerifierParts) {
    this.#parts = parts;
    this.#loop = new Loop('verify', parts, (signal) => this.#verify(signal));
  }

  start(): void {
    const news = ['config', 'assign', 'report', 'steps'] as const;
    this.#parts.watch.onChange(() => this.#loop.trigger(), news);
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #verify(signal: AbortSignal): Promise<void> {
    const { watch, host } = this.#parts;
    for (const id of this.#done) if (!watch.view.failovers.has(id)) this.#done.delete(id);
    for (const check of checksFor(watch.view, host)) {
      if (this.#done.has(check.failover)) continue;
      this.#done.add(check.failover);
      await this.#probe(check, signal);
    }
  }

  async #probe(check: Check, signal: AbortSignal): Promise<void> {
    const { network, clock, journal, host, bootId, deliveries } = this.#parts;
    const heardMs = deliveries.heardMs(check.failover);
    const timer = new StepTimer(clock);
    const { from, address, mac, personality } = check;
    let outcome: 'ok' | 'failed' = 'ok';
    try {
      await timer.time(
        'verify',
        async () => {
          const answer = await network.probe(from, check.network, address, probeTimeoutMs, signal);
          if (answer.mac === undefined) throw new Error(`nobody answers for ${address}`);
          if (answer.mac !== mac)
            throw new Error(`${address} answers from ${answer.mac}, not ${mac}`);
        },
        () => `${address} answers from ${mac}, asked by ${from}`,
      );
    } catch (thrown) {
      outcome = 'failed';
      journal.event('verify', personality, `takeover not confirmed: ${messageOf(thrown)}`);
    }
    const { steps } = timer;
    journal.steps(check.failover, 'verifier', { host, bootId, heardMs, steps, outcome });
  }
}

/**
 * Takeovers that this host is to verify: done by their new owner, not verified yet, still on record,
 * and this host is the first by name, the new owner aside, that runs another member of one of its
 * networks.
 */
export function checksFor(view: View, host: string): readonly Check[] {
  const config = configOf(view);
  if (config === undefined) return [];
  const known = new Map<string, readonly Runner[]>();
  const runnersOn = (network: string) => {
    const runners = known.get(network) ?? runnersOf(view, config, network);
    known.set(network, runners);
    return runners;
  };
  return config.personalities.flatMap((personality): Check[] => {
    const assignment = view.assignments.get(`personality/${personality.name}`)?.value;
    const failover = assignment?.failover;
    if (assignment === undefined || failover === null || failover === undefined) return [];
    if (!view.failovers.has(failover) || view.steps.get(failover)?.has('verifier')) return [];
    if (reportOf(view, personality.name)?.phase !== 'running') return [];
    for (const nic of personality.networks) {
      const first = runnersOn(nic.network).find((runner) => runner.host !== assignment.host);
      const address = nic.addresses[0]?.split('/')[0];
      if (first === undefined || address === undefined) continue;
      if (first.host !== host) return [];
      const check = { failover, personality: personality.name, from: first.name };
      return [{ ...check, network: nic.network, address, mac: nic.mac }];
    }
    return [];
  });
}

interface Runner {
  readonly name: string;
  readonly host: string;
}

/** Personalities that run on a network, by host and name. */
function runnersOf(view: View, config: ClusterConfig, network: string): readonly Runner[] {
  return config.personalities
    .filter(({ networks }) => networks.some((nic) => nic.network === network))
    .flatMap(({ name }) => {
      const host = view.assignments.get(`personality/${name}`)?.value.host;
      const runs = reportOf(view, name)?.phase === 'running';
      return runs && typeof host === 'string' ? [{ name, host }] : [];
    })
    .sort((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : a.name < b.name ? -1 : 1));
}

export interface VerifierParts {
  readonly host: string;
  readonly bootId: string;
  readonly watch: ClusterWatch;
  readonly network: NetworkAdapter;
  readonly clock: Clock;
  readonly deliveries: Pick<Deliveries, 'heardMs'>;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
}
