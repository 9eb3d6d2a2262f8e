import { configOf, parseRoleId } from '../control/view.js';
import type { NetworkAdapter } from '../network/types.js';
import type { Timers } from '../store/timers.js';
import { atMost } from './at-most.js';
import type { ClusterWatch } from './cluster-watch.js';
import { type Log, Loop } from './loop.js';
import { type HostFacts, networkSpec, networksHere, nicsOf, peerSpec } from './specs.js';

/** A takeover is over by then. */
const deadDelayMs = 500;

/**
 * Keeps this host's side of the virtual LANs right: the devices of networks it belongs to, and, on
 * VXLAN, where every member is. A commit anywhere rewrites the entries here, so that a survivor
 * reaches the replacement and hears nothing of the failed host.
 */
export class Forwarding {
  readonly #parts: ForwardingParts;
  readonly #loop: Loop;
  /** One job a network at a time: setting up and taking away must not cross. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #present = new Set<string>();
  /** What an earlier agent left was looked for. */
  #adopted = false;
  readonly #done = new Map<string, string>();

  constructor(parts: ForwardingParts) {
    this.#parts = parts;
    this.#loop = new Loop('forwarding', parts, (signal) => this.#reconcile(signal));
  }

  start(): void {
    const { watch } = this.#parts;
    watch.onChange(() => this.#loop.trigger(), ['config', 'assign']);
    // Who is dead matters where nobody takes over: else a commit follows at once, and says all.
    const later = () => this.#loop.triggerIn(deadDelayMs);
    watch.onChange(later, ['hosts', 'vote', 'retired', 'fenced']);
  }

  /** Roles have come or gone on this host. */
  look(): void {
    this.#loop.trigger();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** The network's device and entries, before a role is put on it. */
  async ensure(network: string, signal: AbortSignal): Promise<void> {
    await this.#turn(network, () => this.#setUp(network, signal));
  }

  /** The network's device alone, down and closed, for a role that may come to this host. */
  async prepare(network: string, signal: AbortSignal): Promise<void> {
    const { watch, facts, network: adapter } = this.#parts;
    await this.#turn(network, async () => {
      const config = configOf(watch.view);
      // Where roles stand on it already, it is ready, and more than that.
      if (config === undefined || this.#done.has(network)) return;
      await adapter.ensureNetwork({ ...networkSpec(config, network, facts), quiet: true }, signal);
      this.#present.add(network);
    });
  }

  /** Whether the network's device is there, complete or prepared. */
  has(network: string): boolean {
    return this.#present.has(network);
  }

  /** Something that stands on the network failed: look at all of it again. */
  doubt(network: string): void {
    this.#done.delete(network);
  }

  async #reconcile(signal: AbortSignal): Promise<void> {
    const { watch, facts } = this.#parts;
    const config = configOf(watch.view);
    if (!watch.known || config === undefined) return;
    if (!this.#adopted) {
      for (const name of await this.#parts.network.observeNetworks(signal)) this.#present.add(name);
      this.#adopted = true;
    }
    const wanted = networksHere(watch.view, config, facts.host);
    // Not one that is gone from the file: its role is being let go of.
    const named = [...wanted].filter((one) => config.networks.some(({ name }) => name === one));
    // One network that cannot be set up, or taken away, leaves the others as they should be.
    const ended = [await settled(atMost(1, named, (network) => this.ensure(network, signal)))];
    const inUse = new Set(this.#parts.networksInUse());
    const surplus = [...this.#present].filter((one) => !wanted.has(one) && !inUse.has(one));
    const takeDown = (network: string) =>
      this.#turn(network, () => this.#takeDown(network, signal));
    ended.push(await settled(atMost(1, surplus, takeDown)));
    for (const end of ended) if (end.status === 'rejected') throw end.reason;
  }

  async #setUp(network: string, signal: AbortSignal): Promise<void> {
    const { watch, facts, network: adapter } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    const spec = networkSpec(config, network, facts);
    const peers = peerSpec(watch.view, config, network, facts);
    const wish = JSON.stringify([spec, peers]);
    if (this.#done.get(network) === wish) return;
    await adapter.ensureNetwork(spec, signal);
    this.#present.add(network);
    if (spec.fabric === 'vxlan') await adapter.setPeers(peers, signal);
    this.#done.set(network, wish);
  }

  async #takeDown(network: string, signal: AbortSignal): Promise<void> {
    // A role may have come while this waited for its turn.
    const { watch, facts } = this.#parts;
    const config = configOf(watch.view);
    if (config !== undefined && networksHere(watch.view, config, facts.host).has(network)) return;
    if (new Set(this.#parts.networksInUse()).has(network)) return;
    await this.#parts.network.removeNetwork(network, signal);
    this.#present.delete(network);
    this.#done.delete(network);
  }

  /** Everything down, for a host that was shut out; its roles are gone already. */
  async dropEverything(signal: AbortSignal): Promise<void> {
    const { network: adapter, facts } = this.#parts;
    for (const network of [...this.#present]) {
      await this.#turn(network, async () => {
        await adapter.removeNetwork(network, signal);
        this.#present.delete(network);
        this.#done.delete(network);
      });
    }
    await adapter.discardWaiting(facts.underlayInterface, signal);
  }

  #turn(network: string, job: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(network) ?? Promise.resolve();
    const mine = before.then(job, job);
    this.#turns.set(
      network,
      mine.catch(() => undefined),
    );
    return mine;
  }
}

async function settled(work: Promise<void>): Promise<PromiseSettledResult<void>> {
  const [end] = await Promise.allSettled([work]);
  return end;
}

export interface ForwardingParts {
  readonly watch: ClusterWatch;
  readonly network: NetworkAdapter;
  readonly facts: HostFacts;
  readonly log: Log;
  readonly timers: Timers;
  /** Networks that roles still standing here use, also ones being let go. */
  networksInUse(): readonly string[];
}

export function networksOfRole(id: string, watch: ClusterWatch): readonly string[] {
  const config = configOf(watch.view);
  return config === undefined ? [] : nicsOf(config, parseRoleId(id)).map(({ network }) => network);
}
