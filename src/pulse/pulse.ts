import { messageOf, UnderstudyError } from '../errors.js';
import { AgentPresence } from './agent-presence.js';
import type { BootTimer } from './boot-timer.js';
import { Counters } from './counters.js';
import { mapMustLimit, mayEnrol } from './enrolling.js';
import { Granting } from './granting.js';
import { type EnrolRequest, Holding, toMs } from './holding.js';
import type { LeaseMap, OpenLeaseMap } from './lease-map.js';
import type { AgentPort, PulseMachine, Wire } from './machine.js';
import type { Packet } from './packet.js';
import type { PulseEvent, PulsePeer, PulseReply, PulseRequest } from './protocol.js';

type LengthenRequest = Extract<PulseRequest, { kind: 'lengthen' }>;

export interface PulseParts {
  readonly machine: PulseMachine;
  /** Called at the first enrolment: a controller that is no host needs no BPF. */
  readonly loadLeaseMaps: () => Promise<OpenLeaseMap>;
  log(fields: object, text: string): void;
}

/** Own stand-still of which hosts are given time to be heard again. */
const shortestStallNs = 50_000_000n;

/** Nothing but heartbeats, lease renewal and the lease deadline in the kernel. */
export class Pulse {
  readonly #parts: PulseParts;
  readonly #counters = new Counters();
  readonly #machine: PulseMachine;
  readonly #wire: Wire;
  readonly #agent: AgentPort;
  readonly #granting: Granting;
  readonly #presence = new AgentPresence();
  readonly #timer: Pick<BootTimer, 'arm' | 'stop'>;
  readonly #startedAtNs: bigint;
  readonly #nonce: string;
  #ackId: bigint;
  #holding: Holding | undefined;
  /** The enrolment before, retired; its map is still open, to know when its lease ends. */
  #retired: Holding | undefined;
  /** What the agent said last that it carries; undefined: nothing is known. */
  #carried: readonly string[] | undefined;

  constructor(parts: PulseParts) {
    this.#parts = parts;
    const { machine, log } = parts;
    this.#machine = machine;
    this.#startedAtNs = machine.bootNs();
    this.#nonce = this.#newNonce();
    this.#ackId = machine.randomBytes(8).readBigUInt64BE() >> 1n;
    const emit = (event: PulseEvent) => this.#agent.emit(event);
    this.#wire = machine.wire({
      counters: this.#counters,
      receive: (packet) => this.#receive(packet),
    });
    this.#agent = machine.agentPort({
      counters: this.#counters,
      handle: (request) => this.#handle(request),
      greeted: () => this.#retell(),
      left: () => this.#presence.gone(machine.bootNs()),
    });
    this.#granting = new Granting({
      record: machine.promises(this.#startedAtNs),
      counters: this.#counters,
      nextAckId: () => ++this.#ackId,
      send: (peer, packet) => this.#wire.send(peer, packet),
      emit,
      log,
    });
    this.#timer = machine.timer((nowNs, lateNs) => this.#wake(nowNs, lateNs));
  }

  /** @throws {UnderstudyError} US_PULSE_BIND, US_PULSE_RUNNING, US_PULSE_SOCKET */
  async start(): Promise<void> {
    await this.#wire.start();
    try {
      await this.#agent.start();
    } catch (thrown) {
      await this.#wire.stop();
      throw thrown;
    }
  }

  /** Deadlines in guard maps stay: they run out by themselves. */
  async stop(): Promise<void> {
    this.#timer.stop();
    await this.#agent.stop();
    await this.#wire.stop();
    this.#holding?.close();
    this.#retired?.close();
  }

  #receive(packet: Packet): void {
    // Read after receiving: a promise counts from no earlier than this.
    const nowNs = this.#machine.bootNs();
    if (packet.type === 'heartbeat') this.#granting.receive(packet, nowNs);
    else if (this.#holding === undefined) this.#counters.add('not-enrolled');
    else if (packet.receiver !== this.#holding.request.host) this.#counters.add('misaddressed');
    else this.#holding.receive(packet, nowNs);
    this.#arm();
  }

  #newNonce(): string {
    return this.#machine.randomBytes(16).toString('hex');
  }

  #arm(): void {
    if (this.#holding !== undefined) this.#timer.arm(this.#holding.wakeNs);
    if (this.#granting.wakeNs !== undefined) this.#timer.arm(this.#granting.wakeNs);
  }

  #wake(nowNs: bigint, lateNs: bigint): void {
    const quarterLeaseNs = (this.#granting.leaseNs ?? 0n) / 4n;
    if (lateNs > (quarterLeaseNs > shortestStallNs ? quarterLeaseNs : shortestStallNs)) {
      this.#counters.add('stalled');
      this.#parts.log({ lateMs: toMs(lateNs) }, 'pulse itself stood still');
      this.#granting.stalled(nowNs);
      this.#presence.stoodStill(lateNs);
    }
    this.#lookForAgent(nowNs);
    // Time goes on while heartbeats are sent; each is stamped before it leaves, never after.
    this.#holding?.tick(nowNs);
    this.#granting.tick(nowNs);
    this.#arm();
  }

  async #handle(request: PulseRequest): Promise<PulseReply> {
    const ok: PulseReply = { kind: 'ok' };
    const nowNs = this.#machine.bootNs();
    switch (request.kind) {
      case 'hello':
        this.#presence.connected(nowNs);
        return this.#hello();
      case 'reload-keys':
        this.#parts.log(
          { keys: this.#machine.keys?.reload() ?? [] },
          'keys of the cluster read again',
        );
        return this.#status(nowNs);
      case 'status':
        return this.#status(nowNs);
      case 'enrol':
        await this.#enrol(request);
        break;
      case 'retire':
        this.#retire();
        break;
      case 'lengthen':
        this.#lengthen(request, nowNs);
        break;
      case 'carries':
        this.#presence.spoke(nowNs);
        if (request.incarnation === this.#holding?.request.incarnation) {
          this.#carried = request.roles ?? this.#carried;
        }
        this.#lookForAgent(nowNs);
        break;
      case 'control':
        this.#granting.control(request, nowNs);
        this.#parts.log({ hosts: request.hosts.length }, 'granting leases');
        break;
      case 'stop-acks': {
        const inForce = this.#granting.stop(request, request.onlyIfLapsed === true, nowNs);
        this.#arm();
        await inForce;
        break;
      }
      case 'resume-acks':
        this.#granting.resume(request, nowNs);
    }
    this.#arm();
    return ok;
  }

  /**
   * Without an agent a host goes on with what it carries, and takes up nothing. One that carries nothing
   * is of no use to anybody, and would keep whatever is given to it: it lets its lease run out, so that
   * this is given to another. Where the lease is not enforced, that would prove nothing.
   */
  #lookForAgent(nowNs: bigint): void {
    this.#presence.look(nowNs);
    if (this.#presence.isMute(nowNs)) this.#carried = undefined;
    const holding = this.#holding;
    if (holding === undefined) return;
    const { away } = this.#presence;
    holding.agentAway = away;
    holding.rest(away && this.#carried?.length === 0 && holding.request.enforce, nowNs);
  }

  #hello(): PulseReply {
    const held = this.#holding?.request;
    return {
      kind: 'hello',
      pid: process.pid,
      nonce: this.#nonce,
      startedAtMs: toMs(this.#startedAtNs),
      bootId: this.#machine.bootId(),
      enrolled: held === undefined ? null : enrolledIn(held),
      controlling: this.#granting.controlling,
      ...(this.#carried === undefined ? {} : { carried: this.#carried }),
      stopped: this.#granting.stopped,
    };
  }

  #status(nowNs: bigint): PulseReply {
    const deadlineNs = this.#holding?.deadlineNs() ?? null;
    return {
      kind: 'status',
      nonce: this.#nonce,
      held: this.#holding?.held(nowNs) ?? false,
      nowMs: toMs(nowNs),
      deadlineMs: deadlineNs === null ? null : toMs(deadlineNs),
      hosts: this.#granting.status(nowNs),
      counters: this.#counters.toJSON(),
      ...(this.#machine.keys === undefined ? {} : { keys: this.#machine.keys.names }),
    };
  }

  #lengthen({ incarnation, leaseMs }: LengthenRequest, nowNs: bigint): void {
    const current = this.#holding?.request.incarnation;
    if (this.#holding === undefined || current !== incarnation) {
      throw new UnderstudyError({
        code: 'US_PULSE_NOT_ENROLLED',
        action: 'cannot ask for a longer lease of',
        object: `incarnation ${incarnation}`,
        cause: current === undefined ? 'none is enrolled' : `incarnation ${current} is enrolled`,
        remedy: 'wait until understudy status says that the host is up',
      });
    }
    this.#holding.wish(leaseMs, nowNs);
    this.#parts.log({ incarnation, leaseMs }, 'asking for a lease of another length');
  }

  #retell(): void {
    const nowNs = this.#machine.bootNs();
    this.#holding?.retell(nowNs);
    this.#granting.retell(nowNs);
  }

  async #enrol(request: EnrolRequest): Promise<void> {
    const openMap = await this.#parts.loadLeaseMaps();
    // From here on nothing awaits: the checks below hold until the new enrolment stands.
    const current = this.#holding;
    const same = (earlier: Holding | undefined) =>
      earlier !== undefined && JSON.stringify(earlier.request) === JSON.stringify(request);
    if (same(current)) return;
    const earlier = current ?? this.#retired;
    if (earlier !== undefined) {
      const told = {
        request: earlier.request,
        retired: current === undefined,
        deadlineNs: earlier.deadlineNs(),
      };
      mayEnrol(request, told, this.#machine.bootNs());
    }
    const holding = this.#startHolding(request, this.#openMap(openMap, request));
    // What it asked for, it asks for under other controllers too.
    if (current !== undefined && current.request.incarnation === request.incarnation) {
      holding.wish(Number(current.wishNs / 1_000_000n), this.#machine.bootNs());
    }
    earlier?.close();
    // Before another incarnation enrols, nothing of the one before is left.
    if (earlier !== undefined && earlier.request.incarnation !== request.incarnation) {
      this.#carried = [];
    }
    this.#retired = undefined;
    this.#holding = holding;
    this.#lookForAgent(this.#machine.bootNs());
    const { log } = this.#parts;
    log({ host: request.host, incarnation: request.incarnation }, 'enrolled');
    holding.tick(this.#machine.bootNs());
  }

  /** A change of controllers or timing is treated like a restart: old acks are void (rule 12). */
  #startHolding(request: EnrolRequest, map: LeaseMap): Holding {
    const parts = {
      request,
      map,
      nonce: this.#newNonce(),
      counters: this.#counters,
      send: (peer: PulsePeer, packet: Packet) => this.#wire.send(peer, packet),
      emit: (event: PulseEvent) => this.#agent.emit(event),
      log: this.#parts.log,
    };
    try {
      return new Holding(parts, this.#machine.bootNs());
    } catch (thrown) {
      map.close();
      throw thrown;
    }
  }

  #openMap(openMap: OpenLeaseMap, request: EnrolRequest): LeaseMap {
    let map: LeaseMap | undefined;
    try {
      map = openMap(request.guardMapPath);
      mapMustLimit(request, map.read());
      return map;
    } catch (thrown) {
      map?.close();
      if (thrown instanceof UnderstudyError) throw thrown;
      throw new UnderstudyError(
        {
          code: 'US_PULSE_GUARD_MAP',
          action: 'cannot open guard map',
          object: request.guardMapPath,
          cause: messageOf(thrown),
          remedy: 'the agent makes and pins it before it enrols; see its log',
        },
        { cause: thrown },
      );
    }
  }

  #retire(): void {
    if (this.#holding === undefined) return;
    this.#retired?.close();
    this.#retired = this.#holding;
    this.#holding = undefined;
    this.#parts.log({ incarnation: this.#retired.request.incarnation }, 'retired');
  }
}

function enrolledIn({ host, incarnation, electorate }: EnrolRequest) {
  const set = electorate?.set ?? 0;
  return set === 0 ? { host, incarnation } : { host, incarnation, set };
}
