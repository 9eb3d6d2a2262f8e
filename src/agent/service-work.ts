import { configOf } from '../control/view.js';
import { within } from '../deadline.js';
import { messageOf } from '../errors.js';
import { handOver } from './hand-over.js';
import { StepTimer } from './journal.js';
import type { RoleParts } from './role-parts.js';
import { dispatchSpec, namespaceName, nicsOf, serviceNamespace } from './specs.js';
import type { RoleWork } from './task.js';

/** A move of a dispatcher waits no longer for the next one to have heard what it remembers. */
const longestFlushMs = 250;

/** The dispatcher role of a service on this host. */
export class ServiceWork implements RoleWork {
  readonly #name: string;
  readonly #parts: RoleParts;
  #complete: number | undefined;
  /** NICs as they were announced last. */
  #announced = '';

  constructor(name: string, parts: RoleParts) {
    this.#name = name;
    this.#parts = parts;
  }

  /** Nothing: a dispatcher goes to a host that has its network, and has no disk. */
  async prepare(): Promise<void> {}

  /** The VIP comes last, when the data plane is attached: see `serviceNamespace`. */
  async take(
    epoch: number,
    incarnation: number,
    failover: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, watch, network, forwarding, dispatch, memory, journal, host, bootId } =
      this.#parts;
    const config = configOf(watch.view);
    const service = config?.services.find(({ name }) => name === this.#name);
    if (config === undefined || service === undefined) return;
    const timer = new StepTimer(clock);
    const first = this.#complete !== epoch;
    const record = (outcome: 'ok' | 'failed', detail: string) => {
      if (!first || failover === null || signal.aborted) return;
      const { steps } = timer;
      const heardMs = this.#parts.deliveries.heardMs(failover);
      journal.steps(failover, 'owner', { host, bootId, heardMs, steps, outcome, detail });
    };
    try {
      await timer.time('network', async () => {
        await forwarding.ensure(service.network, signal);
        if (first) {
          const silent = serviceNamespace(config, this.#name, epoch, incarnation, false);
          await network.ensureNamespace(silent, signal);
        }
        const inherited = first ? memory.inherited(this.#name, epoch) : undefined;
        const spec = dispatchSpec(watch.view, service, incarnation, this.#parts);
        await dispatch.ensure(spec, inherited);
        const answering = serviceNamespace(config, this.#name, epoch, incarnation, true);
        await network.ensureNamespace(answering, signal);
      });
      const nics = nicsOf(config, { kind: 'service', name: this.#name });
      if (first || this.#announced !== JSON.stringify(nics)) {
        const spec = { name: this.#namespace, nics };
        await timer.time('announce', () =>
          this.#parts.announcer.begin(spec, config.timing.announceRefreshMs, signal),
        );
        this.#announced = JSON.stringify(nics);
      }
      if (first) {
        this.#complete = epoch;
        record('ok', '');
        journal.event('running', this.#name, `epoch ${epoch} is dispatched by ${host}`);
      }
    } catch (thrown) {
      record('failed', messageOf(thrown));
      throw thrown;
    }
  }

  /** While it still dispatches the next one is told what it knows; where that takes too long, it goes without. */
  async release(signal: AbortSignal): Promise<void> {
    const { memory, timers } = this.#parts;
    await memory.flush(within(longestFlushMs, signal, timers));
    await this.abort(signal);
  }

  async abort(signal: AbortSignal): Promise<void> {
    const { announcer, network, dispatch } = this.#parts;
    announcer.end(this.#namespace);
    await network.removeNamespace(this.#namespace, signal);
    await dispatch.remove(this.#name);
    this.#complete = undefined;
    this.#announced = '';
  }

  async handOver(drainStartedMs: number): Promise<void> {
    await handOver({ kind: 'service', name: this.#name }, drainStartedMs, this.#parts);
  }

  get #namespace(): string {
    return namespaceName({ kind: 'service', name: this.#name });
  }
}
