import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { ensureFilter, type FilterSpot, removeFilter } from '../bpf/attach.js';
import { ensureXdp, removeXdp } from '../bpf/attach-xdp.js';
import { type BpfLog, type BpfPlace, pinFolder, pinName } from '../bpf/place.js';
import type { TrafficReport } from '../control/records.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { bootNs } from '../ffi/clock.js';
import { DataPlane, dispatchProgram, dispatchXdpProgram } from './data-plane.js';
import { emptyLayout, type Layout, lookAgainMs, Planner } from './layout.js';
import { everyMs, type Inherited, type Memory, remembered } from './memory.js';
import { notDispatched } from './refusals.js';
import { type Rehearsed, rehearsals, rehearse } from './rehearsal.js';
import { TableShelf } from './table-shelf.js';
import type { DispatchAdapter, DispatchSpec } from './types.js';

export interface BpfDispatcherOptions extends BpfPlace {
  /** Folder of named network namespaces, e.g. /run/netns. */
  readonly namespaceDirectory: string;
  /** Default 'us-'. */
  readonly namespacePrefix?: string;
  /** Where the underlay NICs are. Default: the namespace this process is in. */
  readonly underlayNamespacePath?: string;
  readonly log: BpfLog;
  /** Milliseconds that go on through suspend and restarts of this process. Default: the boot clock. */
  readonly nowMs?: () => number;
}

/** Services whose counters are read in one go. */
const countedAtOnce = 16;
/** Right behind the guard, which has priority 1. */
const dispatchPriority = 2;
/** 'us'. */
const dispatchHandle = 0x7573;
const nicName = 'eth0';
const xdpPinPrefix = 'xdp-';

/** After a change, and between two rehearsals of the next one: others have work to do. */
const calmMs = 50;
/** setTimeout takes no more. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Dispatchers of this host: one program and one set of tables for all services, at ingress of each
 * service's own NIC. They go on when this process ends; the next one finds the tables by their pins and
 * the programs on the NICs.
 */
export class BpfDispatcher implements DispatchAdapter {
  readonly #options: BpfDispatcherOptions;
  readonly #nowMs: () => number;
  /** Made when a service comes or may come: other hosts need no memory for it. */
  #plane: DataPlane | undefined;
  /** What each service was last attached by. */
  readonly #attached = new Map<string, DispatchSpec>();
  /** Underlay NIC by service, where XDP runs for it. */
  readonly #xdp = new Map<string, string>();
  /** One job at a time: all services share a state. */
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  readonly #shelf = new TableShelf();
  /** Still to be rehearsed. */
  #toRehearse: Rehearsed[] = [];
  #rehearsal: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: BpfDispatcherOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => Number(bootNs() / 1_000_000n));
  }

  /**
   * What an earlier process left is looked at with the first service. Where no service stands there may be
   * none, and nothing else would take the program off the underlay NIC.
   */
  async start(_signal: AbortSignal): Promise<void> {
    const { namespaceDirectory, namespacePrefix = 'us-' } = this.#options;
    const dispatcher = `${namespacePrefix}${namespaceOf('')}`;
    if (!filesIn(namespaceDirectory).some((name) => name.startsWith(dispatcher))) this.#dropXdp();
  }

  /** Lets go of descriptors; nothing stops in the kernel. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#rehearsal);
    await this.#turn;
    this.#plane?.close();
    this.#plane = undefined;
  }

  /** @throws {UnderstudyError} US_BPF_FILESYSTEM, US_BPF_LOAD, US_BPF_NOT_NOW, US_GUARD_NO_LEASE */
  warm(incarnation: number): Promise<void> {
    return this.#inTurn(async () => {
      this.#planeFor(incarnation).programFd(incarnation, dispatchProgram);
    });
  }

  /**
   * @throws {UnderstudyError} US_DISPATCH_SPEC, US_BPF_FILESYSTEM, US_BPF_LOAD, US_BPF_NOT_NOW, US_BPF_ATTACH,
   *   US_BPF_TAKEN, US_GUARD_NO_LEASE
   */
  ensure(spec: DispatchSpec, inherited?: Inherited): Promise<void> {
    return this.#inTurn(async () => {
      const { service, namespace, incarnation, members } = spec;
      const plane = this.#planeFor(incarnation);
      const programFd = plane.programFd(incarnation, dispatchProgram);
      const isNew = !plane.layout.services.has(service);
      const changed =
        (isNew && inherited !== undefined && (await this.#inherit(plane, spec, inherited))) ||
        (await this.#change(plane, (planner) => planner.put(spec)));
      const done = ensureFilter(this.#spot(namespace), programFd);
      this.#attached.set(service, spec);
      this.#attachXdp(plane, spec);
      const fields = { service, incarnation, members: members.length, changed, done };
      if (changed || done === 'attached') this.#options.log.info(fields, 'dispatcher');
      this.#getReady(changed);
    });
  }

  /** Takes the program off the NIC, if that is still there, and the service out of the tables. Idempotent. */
  remove(service: string): Promise<void> {
    return this.#inTurn(async () => {
      const namespace = namespaceOf(service);
      if (existsSync(this.#namespacePath(namespace))) {
        try {
          removeFilter(this.#spot(namespace), dispatchProgram);
        } catch (thrown) {
          // The NIC is gone, and with it the program; or both go with the namespace.
          this.#options.log.warn({ service, cause: messageOf(thrown) }, 'no program to detach');
        }
      }
      this.#attached.delete(service);
      this.#detachXdp(service);
      // For whom it was is not known yet: services that stay have it attached again.
      if (this.#plane === undefined) this.#dropXdp();
      if (this.#plane?.layout.services.has(service) !== true) return;
      await this.#change(this.#plane, (planner) => planner.remove(service));
    });
  }

  /** @throws {UnderstudyError} US_DISPATCH_NOT_HERE */
  counters(service: string): Promise<TrafficReport> {
    return this.#inTurn(async () => {
      const counters = this.#attached.has(service) ? this.#plane?.counters(service) : undefined;
      if (counters !== undefined) return counters;
      throw notDispatched(service);
    });
  }

  allCounters(): Promise<readonly TrafficReport[]> {
    return this.#inTurn(async () => {
      const all: TrafficReport[] = [];
      for (const [at, service] of [...this.#attached.keys()].entries()) {
        // Each is some system calls: others of this process have their turn in between.
        if (at % countedAtOnce === countedAtOnce - 1) await setImmediate();
        const counters = this.#plane?.counters(service);
        if (counters !== undefined) all.push(counters);
      }
      return all;
    });
  }

  /** How often `memory` is worth reading; undefined: nothing that changed hands or is sticky is remembered. */
  memoryEveryMs(): number | undefined {
    return everyMs(remembered(this.layout, this.#attached), this.#nowMs());
  }

  /** Not in turn: a change need not wait until all of it was read. */
  async memory(): Promise<Memory | undefined> {
    const plane = this.#plane;
    const services = remembered(this.layout, this.#attached);
    if (plane === undefined || services.length === 0) return undefined;
    const macs = plane.layout.ids;
    const { words, time } = await plane.flows();
    return { services, flows: { words, macs }, time };
  }

  /** What the tables are made of; for tests and diagnosis. */
  get layout(): Layout {
    return this.#plane?.layout ?? emptyLayout;
  }

  /** Begins where another host's dispatcher ended. @returns false when it cannot: it begins with the table alone */
  async #inherit(plane: DataPlane, spec: DispatchSpec, inherited: Inherited): Promise<boolean> {
    const { service } = spec;
    const { birth, ring, flows } = inherited;
    const startedMs = this.#nowMs();
    let recalled = 0;
    try {
      await this.#change(
        plane,
        (planner) => planner.put(spec, { birth, ring }),
        (layout) => {
          recalled = plane.recall(layout, flows, startedMs);
        },
      );
    } catch (thrown) {
      this.#options.log.warn(
        { service, cause: messageOf(thrown) },
        'dispatched by the table alone',
      );
      return false;
    }
    const tookMs = this.#nowMs() - startedMs;
    this.#options.log.info({ service, recalled, tookMs }, 'flows of the dispatcher before go on');
    return true;
  }

  /** Services whose namespace is gone, left by a process that was killed, go with the next change. */
  async #change(
    plane: DataPlane,
    change: (planner: Planner) => void,
    before: (planned: Layout) => void = () => {},
  ): Promise<boolean> {
    const nowMs = this.#nowMs();
    const planner = new Planner(plane.layout, nowMs, this.#shelf.tableOf);
    for (const service of plane.layout.services.keys()) {
      if (this.#attached.has(service) || existsSync(this.#namespacePath(namespaceOf(service)))) {
        continue;
      }
      planner.remove(service);
      this.#detachXdp(service);
      this.#options.log.info({ service }, 'left-over service removed from the dispatcher');
    }
    change(planner);
    const { layout, fresh } = planner.finish();
    before(layout);
    const changed = await plane.commit(layout, fresh, nowMs);
    this.#lookAgain(plane, nowMs);
    return changed;
  }

  /**
   * For the next change, in moments when there is nothing else to do: all that may come, or, where nothing
   * changed since they were rehearsed, one, so that it stays so.
   */
  #getReady(changed: boolean): void {
    if (changed) this.#toRehearse = [...rehearsals(this.#attached.values())];
    else if (this.#toRehearse.length === 0) {
      this.#toRehearse = rehearsals(this.#attached.values()).slice(0, 1);
    }
    if (this.#toRehearse.length > 0) this.#rehearseSoon();
  }

  #rehearseSoon(): void {
    clearTimeout(this.#rehearsal);
    if (this.#stopped) return;
    // What cannot be planned now is said when it is to be done.
    const next = () => this.#inTurn(async () => this.#rehearseNext()).catch(() => {});
    this.#rehearsal = setTimeout(() => void next(), calmMs);
    this.#rehearsal.unref();
  }

  #rehearseNext(): void {
    const next = this.#toRehearse.shift();
    const spec = next && this.#attached.get(next.service);
    if (this.#stopped || next === undefined || this.#plane === undefined) return;
    if (spec !== undefined) rehearse(this.#plane.layout, spec, next.member, this.#shelf.tableOf);
    if (this.#toRehearse.length > 0) this.#rehearseSoon();
  }

  /** Drains end by themselves. */
  #lookAgain(plane: DataPlane, nowMs: number): void {
    clearTimeout(this.#timer);
    const atMs = lookAgainMs(plane.layout);
    if (!Number.isFinite(atMs) || this.#stopped) return;
    const look = () => {
      this.#inTurn(() => this.#change(plane, () => {})).catch((thrown) =>
        this.#options.log.warn({ cause: messageOf(thrown) }, 'end of a drain'),
      );
    };
    this.#timer = setTimeout(look, Math.min(Math.max(atMs - nowMs, 0) + 1, longestTimerMs));
    this.#timer.unref();
  }

  /** A faster way and no other one: without it packets go by tc. */
  #attachXdp(plane: DataPlane, { service, incarnation, xdpOn }: DispatchSpec): void {
    if (xdpOn !== this.#xdp.get(service)) this.#detachXdp(service);
    if (xdpOn === undefined) return;
    try {
      const spot = {
        namespacePath: this.#options.underlayNamespacePath,
        interfaceName: xdpOn,
        pinPath: this.#xdpPin(xdpOn),
      };
      const done = ensureXdp(spot, plane.programFd(incarnation, dispatchXdpProgram));
      this.#xdp.set(service, xdpOn);
      if (done === 'attached') this.#options.log.info({ service, nic: xdpOn }, 'dispatcher by XDP');
    } catch (thrown) {
      const remedy = thrown instanceof UnderstudyError ? thrown.remedy : '';
      this.#options.log.warn({ service, cause: messageOf(thrown), remedy }, 'no XDP: tc alone');
    }
  }

  #detachXdp(service: string): void {
    const nic = this.#xdp.get(service);
    this.#xdp.delete(service);
    if (nic === undefined || [...this.#xdp.values()].includes(nic)) return;
    removeXdp({ pinPath: this.#xdpPin(nic) });
  }

  /** Adopts what an earlier process left: XDP is there for each of its services until it is looked at. */
  #planeFor(incarnation: number): DataPlane {
    if (this.#plane !== undefined) return this.#plane;
    const plane = new DataPlane(this.#options, incarnation);
    this.#plane = plane;
    const [nic, ...others] = this.#pinnedXdp();
    const services = [...plane.layout.services.keys()];
    if (nic === undefined || others.length > 0 || services.length === 0) this.#dropXdp();
    else for (const service of services) this.#xdp.set(service, nic);
    return plane;
  }

  /** NICs that have a program of this or an earlier process, by their pins. */
  #pinnedXdp(): readonly string[] {
    return filesIn(join(this.#options.bpffs, 'understudy', 'dispatch'))
      .filter((name) => name.startsWith(xdpPinPrefix))
      .map((name) => decodeURIComponent(name.slice(xdpPinPrefix.length)));
  }

  #dropXdp(): void {
    for (const nic of this.#pinnedXdp()) removeXdp({ pinPath: this.#xdpPin(nic) });
  }

  #xdpPin(nic: string): string {
    return join(pinFolder(this.#options, 'dispatch'), `${xdpPinPrefix}${pinName(nic)}`);
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

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(job, job);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

function filesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** As the agent names it (DispatchSpec.namespace): all that is left to go by after a restart. */
function namespaceOf(service: string): string {
  return `svc-${service}`;
}
