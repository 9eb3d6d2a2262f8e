import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type FilterSpot, removeFilter } from '../bpf/attach.js';
import type { BpfLog, BpfPlace } from '../bpf/place.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { dispatchProgram, pinnedServices, removePins, ServiceProgram } from './service-program.js';
import type { DispatchAdapter, DispatchCounters, DispatchSpec } from './types.js';

export interface BpfDispatcherOptions extends BpfPlace {
  /** Folder of named network namespaces, e.g. /run/netns. */
  readonly namespaceDirectory: string;
  /** Default 'us-'. */
  readonly namespacePrefix?: string;
  readonly log: BpfLog;
}

/** Right behind the guard, which has priority 1. */
const dispatchPriority = 2;
/** 'us'. */
const dispatchHandle = 0x7573;
const nicName = 'eth0';

/**
 * Dispatchers of this host: one program for each service, at ingress of the service's own NIC. They
 * go on when this process ends; the next one finds their maps by their pins and their programs on
 * the NICs.
 */
export class BpfDispatcher implements DispatchAdapter {
  readonly #options: BpfDispatcherOptions;
  readonly #programs = new Map<string, ServiceProgram>();
  /** One job a service at a time. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(options: BpfDispatcherOptions) {
    this.#options = options;
  }

  /**
   * Clears away pins of services whose namespace is gone, left by a process that was killed.
   *
   * @throws {UnderstudyError} US_BPF_FILESYSTEM
   */
  async start(signal: AbortSignal): Promise<void> {
    for (const service of pinnedServices(this.#options)) {
      if (signal.aborted) return;
      if (existsSync(this.#namespacePath(namespaceOf(service)))) continue;
      removePins(this.#options, service);
      this.#options.log.info({ service }, 'left-over dispatcher pins removed');
    }
  }

  /** Lets go of descriptors; nothing stops in the kernel. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.#turns.values());
    for (const program of this.#programs.values()) program.close();
    this.#programs.clear();
  }

  /**
   * @throws {UnderstudyError} US_DISPATCH_SPEC, US_BPF_FILESYSTEM, US_BPF_LOAD, US_BPF_ATTACH,
   *   US_BPF_TAKEN, US_GUARD_NO_LEASE
   */
  ensure(spec: DispatchSpec): Promise<void> {
    return this.#inTurn(spec.service, async () => {
      const before = this.#programs.get(spec.service);
      const current = before?.incarnation === spec.incarnation;
      // A new incarnation has a lease map of its own, so a program of its own on the same tables.
      const program = current
        ? before
        : new ServiceProgram(this.#options, spec.service, spec.incarnation);
      try {
        const changed = await program.update(spec);
        const done = program.attach(this.#spot(spec.namespace));
        const { service, incarnation, members } = spec;
        const fields = { service, incarnation, members: members.length, changed, done };
        if (changed || done === 'attached') this.#options.log.info(fields, 'dispatcher');
      } catch (thrown) {
        if (!current) program.close();
        throw thrown;
      }
      if (!current) {
        before?.close();
        this.#programs.set(spec.service, program);
      }
    });
  }

  /** Takes the program off the NIC, if that is still there, and its pins away. Idempotent. */
  remove(service: string): Promise<void> {
    return this.#inTurn(service, async () => {
      const namespace = namespaceOf(service);
      this.#programs.get(service)?.close();
      this.#programs.delete(service);
      if (existsSync(this.#namespacePath(namespace))) {
        try {
          removeFilter(this.#spot(namespace), dispatchProgram);
        } catch (thrown) {
          // The NIC is gone, and with it the program; or both go with the namespace.
          this.#options.log.warn({ service, cause: messageOf(thrown) }, 'no program to detach');
        }
      }
      removePins(this.#options, service);
    });
  }

  /** @throws {UnderstudyError} US_DISPATCH_NOT_HERE */
  counters(service: string): Promise<DispatchCounters> {
    return this.#inTurn(service, async () => {
      const program = this.#programs.get(service);
      if (program !== undefined) return program.counters();
      throw new UnderstudyError({
        code: 'US_DISPATCH_NOT_HERE',
        action: 'cannot count the packets of service',
        object: service,
        cause: 'this host does not dispatch it',
        remedy: 'understudy status shows which host does',
      });
    });
  }

  #spot(namespace: string): FilterSpot {
    return {
      namespacePath: this.#namespacePath(namespace),
      interfaceName: nicName,
      hook: 'ingress',
      priority: dispatchPriority,
      handle: dispatchHandle,
    };
  }

  #namespacePath(namespace: string): string {
    const { namespaceDirectory, namespacePrefix = 'us-' } = this.#options;
    return join(namespaceDirectory, `${namespacePrefix}${namespace}`);
  }

  #inTurn<T>(service: string, job: () => Promise<T>): Promise<T> {
    const mine = (this.#turns.get(service) ?? Promise.resolve()).then(job, job);
    this.#turns.set(service, mine);
    const forget = () => {
      if (this.#turns.get(service) === mine) this.#turns.delete(service);
    };
    mine.then(forget, forget);
    return mine;
  }
}

/** As the agent names it (DispatchSpec.namespace): all that is left to go by after a restart. */
function namespaceOf(service: string): string {
  return `svc-${service}`;
}
