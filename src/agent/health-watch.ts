import ipaddr from 'ipaddr.js';
import { sharedName } from '../config/dispatchers.js';
import type { HealthConfig, NicConfig, ServiceConfig } from '../config/types.js';
import { nextStepMs, slowStep } from '../control/slow-start.js';
import { configOf } from '../control/view.js';
import { type Health, initialHealth, observe } from '../dispatch/hysteresis.js';
import type { AskScript } from '../dispatch/script-check.js';
import { repeat, type Timers } from '../store/timers.js';
import type { ClusterWatch } from './cluster-watch.js';

/**
 * Asks one member once, for `request` by HTTP if there is one; src/ffi has the real ones. Resolves with why it
 * is not well, undefined when it is.
 */
export type Probe = (
  namespacePath: string,
  address: Uint8Array,
  port: number,
  timeoutMs: number,
  request?: { readonly path: string; readonly host: string },
) => Promise<string | undefined>;

export interface MemberHealth {
  readonly service: string;
  readonly personality: string;
  readonly epoch: number;
  readonly up: boolean;
  /** Of one that is down: what the check said that took it out. */
  readonly why?: string;
  /** Of one that came back and has not its whole weight yet. */
  readonly step?: number;
}

interface Checked {
  readonly epoch: number;
  /** Whom it asks, and how: another one begins anew. */
  readonly asks: string;
  readonly end: () => void;
  health: Health;
  /** Why it is down; '' while it is up. */
  why: string;
  busy: boolean;
  /** Since it came back; undefined once it has its whole weight. */
  start: SlowStart | undefined;
}

interface SlowStart {
  step: number;
  cancel: () => void;
}

/** Whom a check is about. */
interface Member {
  /** Service and personality. */
  readonly id: string;
  readonly path: string;
  readonly address: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** What a script is told (docs/reference/cluster-file.md). */
function environmentOf(
  service: ServiceConfig,
  personality: string,
  nic: NicConfig,
  epoch: number,
): Readonly<Record<string, string>> {
  const { addresses, ports } = service;
  const range = ({ protocol, first, last }: ServiceConfig['ports'][number]) =>
    first === last ? `${protocol}/${first}` : `${protocol}/${first}-${last}`;
  return {
    UNDERSTUDY_SERVICE: sharedName(service),
    UNDERSTUDY_SERVICE_ADDRESS: addresses.join(' '),
    UNDERSTUDY_SERVICE_PORTS: ports.map(range).join(' '),
    UNDERSTUDY_PERSONALITY: personality,
    UNDERSTUDY_EPOCH: String(epoch),
    UNDERSTUDY_MEMBER_ADDRESS: nic.addresses.map((one) => one.split('/')[0]).join(' '),
    UNDERSTUDY_MEMBER_MAC: nic.mac,
  };
}

/**
 * Health of the service members that run on this host, asked where they are: at the member's own
 * address, or by a script, in its own namespace. A check that gives no answer within its interval has failed.
 */
export class HealthWatch {
  readonly #parts: HealthParts;
  readonly #checks = new Map<string, Checked>();

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  /** Starts checks of members that run now, ends those of members that do not. */
  look(): void {
    const config = configOf(this.#parts.watch.view);
    const wanted = new Set<string>();
    for (const { name, epoch } of this.#parts.running()) {
      for (const service of config?.services ?? []) {
        if (service.health === null) continue;
        if (!service.members.some(({ personality }) => personality === name)) continue;
        const nic = config?.personalities
          .find((personality) => personality.name === name)
          ?.networks.find(({ network }) => network === service.network);
        const address = nic?.addresses[0]?.split('/')[0];
        if (nic === undefined || address === undefined) continue;
        // Of dispatchers of one service one check does.
        const id = `${sharedName(service)}/${name}`;
        wanted.add(id);
        const asks = JSON.stringify([epoch, address, service.health]);
        if (this.#checks.get(id)?.asks === asks) continue;
        this.#begin(id, { epoch, asks }, service.health, {
          id,
          path: this.#parts.namespacePath(name),
          address,
          environment: environmentOf(service, name, nic, epoch),
        });
      }
    }
    for (const [id, { end }] of this.#checks) {
      if (wanted.has(id)) continue;
      end();
      this.#checks.delete(id);
    }
  }

  healths(): readonly MemberHealth[] {
    return [...this.#checks].map(([id, { epoch, health, why, start }]) => {
      const [service = '', personality = ''] = id.split('/');
      return {
        ...{ service, personality, epoch, up: health.up },
        ...(why === '' ? {} : { why }),
        ...(start === undefined ? {} : { step: start.step }),
      };
    });
  }

  stop(): void {
    for (const { end } of this.#checks.values()) end();
    this.#checks.clear();
  }

  #begin(
    id: string,
    begun: Pick<Checked, 'epoch' | 'asks'>,
    config: HealthConfig,
    member: Member,
  ): void {
    const { everyMs } = config;
    // What is known of the same member holds until the new check has asked.
    const before = this.#checks.get(id);
    before?.end();
    const same = before?.epoch === begun.epoch ? before : undefined;
    const { health = initialHealth, why = '' } = same ?? {};
    const ended = new AbortController();
    const stop = repeat(this.#parts.timers, everyMs, () => {
      const check = this.#checks.get(id);
      if (check === undefined || check.busy) return;
      check.busy = true;
      void this.#ask(member, config, ended.signal).then((refused) => {
        check.busy = false;
        const { up } = check.health;
        check.health = observe(check.health, refused === undefined);
        if (up === check.health.up) return;
        // What later checks say is not told: each report reaches every agent.
        check.why = check.health.up ? '' : (refused ?? '');
        check.start?.cancel();
        check.start = undefined;
        if (this.#checks.get(id) !== check) return;
        if (check.health.up) this.#startSlowly(id, check);
        this.#parts.onChange(id, check.why);
      });
    });
    const end = () => {
      stop();
      ended.abort();
      this.#checks.get(id)?.start?.cancel();
    };
    this.#checks.set(id, { ...begun, end, health, why, busy: false, start: undefined });
  }

  /** A check that is changed in the file meanwhile begins anew, with the whole weight. */
  #startSlowly(id: string, check: Checked): void {
    const { timers, watch } = this.#parts;
    const [name] = id.split('/');
    const slowStartMs = configOf(watch.view)?.services.find(
      (service) => sharedName(service) === name,
    )?.slowStartMs;
    if (slowStartMs === undefined) return;
    const sinceMs = timers.nowMs();
    const start: SlowStart = { step: 1, cancel: () => {} };
    check.start = start;
    const wait = () => {
      const nextMs = nextStepMs(timers.nowMs() - sinceMs, slowStartMs);
      if (nextMs === undefined) check.start = undefined;
      else start.cancel = timers.after(nextMs, advance);
    };
    const advance = () => {
      start.step = slowStep(timers.nowMs() - sinceMs, slowStartMs);
      wait();
      this.#parts.onStep();
    };
    wait();
  }

  async #ask(
    { id, path, address, environment }: Member,
    config: HealthConfig,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { everyMs } = config;
    if ('script' in config) {
      const { script: command, user } = config;
      const order = { id, namespacePath: path, command, environment, user };
      return this.#parts.script({ ...order, timeoutMs: everyMs }, signal);
    }
    const bytes = Uint8Array.from(ipaddr.parse(address).toByteArray());
    const ask = (port: number, request?: Parameters<Probe>[4]) =>
      this.#parts.probe(path, bytes, port, everyMs, request);
    try {
      if ('tcp' in config) return await ask(config.tcp);
      const host = address.includes(':') ? `[${address}]` : address;
      return await ask(config.http, { path: config.path, host });
    } catch {
      return 'its namespace is going away';
    }
  }
}

export interface HealthParts {
  readonly watch: Pick<ClusterWatch, 'view'>;
  readonly probe: Probe;
  readonly script: AskScript;
  readonly timers: Timers;
  running(): readonly { readonly name: string; readonly epoch: number }[];
  namespacePath(name: string): string;
  /** `why` is '' when the member is up again. */
  onChange(member: string, why: string): void;
  /** A member that is back has more of its weight. */
  onStep(): void;
}
