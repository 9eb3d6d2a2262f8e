import type {
  AnnounceSpec,
  NamespaceSpec,
  NetworkAdapter,
  NetworkSpec,
  ObservedNamespace,
  PeerSpec,
  ProbeResult,
} from '../network/types.js';
import type { Effort } from './effort.js';
import type { Kernel } from './kernel.js';
import { Turns } from './turns.js';

export interface SimNetworkParts {
  readonly kernel: Kernel;
  readonly effort: Effort;
  /** Takes a namespace away, with what is in it. */
  remove(name: string): void;
  /** MAC that answers for the address on that virtual LAN just now. */
  answering(network: string, address: string): string | undefined;
}

/** The host's virtual LANs on the simulated kernel. Each operation is some steps, not one instant. */
export class SimNetwork implements NetworkAdapter {
  readonly #parts: SimNetworkParts;
  readonly #turns = new Turns();

  constructor(parts: SimNetworkParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async ensureNetwork(spec: NetworkSpec, signal: AbortSignal): Promise<void> {
    const { kernel, effort } = this.#parts;
    await this.#turns.take(`network ${spec.name}`, async () => {
      await effort.step(`set up network ${spec.name}`, 0.5, 6, signal);
      kernel.networks.add(spec.name);
    });
  }

  async removeNetwork(network: string, signal: AbortSignal): Promise<void> {
    const { kernel, effort } = this.#parts;
    await this.#turns.take(`network ${network}`, async () => {
      await effort.step(`remove network ${network}`, 0.5, 6, signal);
      const used = kernel.observe().some(({ nics }) => nics.some((nic) => nic.network === network));
      if (used) throw new Error(`network ${network} is in use`);
      kernel.networks.delete(network);
    });
  }

  async setPeers({ network }: PeerSpec, signal: AbortSignal): Promise<void> {
    await this.#turns.take(`network ${network}`, () =>
      this.#parts.effort.step(`set peers of ${network}`, 0.2, 2, signal),
    );
  }

  async ensureNamespace(spec: NamespaceSpec, signal: AbortSignal): Promise<void> {
    const { kernel, effort } = this.#parts;
    await this.#turns.take(`role ${spec.name}`, async () => {
      kernel.adoptPrepared(spec);
      const there = kernel.namespace(spec.name);
      const current = there?.epoch === spec.epoch && there.incarnation === spec.incarnation;
      if (there !== undefined && !current) {
        await effort.step(`remove namespace ${spec.name}`, 2, 20, signal);
        kernel.removeNamespace(spec.name);
      }
      if (!current) {
        await effort.step(`make namespace ${spec.name}`, 1, 15, signal);
        kernel.makeNamespace(spec);
      }
      for (const nic of spec.nics) {
        await effort.step(`set up ${nic.network} of ${spec.name}`, 0.3, 4, signal);
        kernel.setNic(spec.name, nic, spec.incarnation, spec.quiet ?? false);
      }
    });
  }

  async raise(spec: NamespaceSpec, signal: AbortSignal): Promise<void> {
    const { kernel, effort } = this.#parts;
    await this.#turns.take(`role ${spec.name}`, async () => {
      const there = kernel.namespace(spec.name);
      const current = there?.epoch === spec.epoch && there.incarnation === spec.incarnation;
      if (!current) throw new Error(`nothing of ${spec.name} stands for epoch ${spec.epoch}`);
      await effort.step(`bring up the NICs of ${spec.name}`, 0.3, 4, signal);
      for (const nic of spec.nics) kernel.setNic(spec.name, nic, spec.incarnation, false);
    });
  }

  async silence(name: string, signal: AbortSignal): Promise<void> {
    const { kernel, effort } = this.#parts;
    await this.#turns.take(`role ${name}`, async () => {
      if (kernel.namespace(name) === undefined) return;
      await effort.step(`take down the NICs of ${name}`, 0.3, 4, signal);
      kernel.silence(name);
    });
  }

  async removeNamespace(name: string, signal: AbortSignal): Promise<void> {
    const { kernel, effort } = this.#parts;
    await this.#turns.take(`role ${name}`, async () => {
      if (kernel.namespace(name) === undefined) return;
      await effort.step(`remove namespace ${name}`, 2, 20, signal);
      this.#parts.remove(name);
    });
  }

  /** Frames here do not wait for neighbours: test/lab/late-frames.test.ts has the kernel's. */
  async discardWaiting(): Promise<void> {}

  async observe(signal: AbortSignal): Promise<readonly ObservedNamespace[]> {
    await this.#parts.effort.step('look at namespaces', 0.2, 2, signal);
    return this.#parts.kernel.observe();
  }

  async observeNetworks(signal: AbortSignal): Promise<readonly string[]> {
    await this.#parts.effort.step('look at networks', 0.2, 2, signal);
    return [...this.#parts.kernel.networks];
  }

  async announce(spec: AnnounceSpec, signal: AbortSignal): Promise<void> {
    await this.#parts.effort.step(`announce ${spec.name}`, 0.1, 1, signal);
  }

  async probe(
    _from: string,
    network: string,
    address: string,
    _timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ProbeResult> {
    await this.#parts.effort.step(`probe ${address}`, 0.1, 2, signal);
    return { address, mac: this.#parts.answering(network, address) };
  }
}
