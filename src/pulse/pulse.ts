import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { messageOf, UnderstudyError } from '../errors.js';
import { bootId, bootNs } from '../ffi/clock.js';
import { AgentSocket } from './agent-socket.js';
import { BootTimer } from './boot-timer.js';
import type { PulseConfig } from './config.js';
import { Counters } from './counters.js';
import { mapMustLimit, mayEnrol } from './enrolling.js';
import { Granting } from './granting.js';
import { type EnrolRequest, Holding, toMs } from './holding.js';
import type { LeaseMap, OpenLeaseMap } from './lease-map.js';
import { decodePacket, encodePacket, type Packet } from './packet.js';
import { PromiseRecord } from './promise-record.js';
import type { PulseEvent, PulsePeer, PulseReply, PulseRequest } from './protocol.js';

export interface PulseParts {
  readonly config: PulseConfig;
  readonly key: Buffer;
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
  readonly #udp: Socket;
  readonly #agent: AgentSocket;
  readonly #granting: Granting;
  readonly #timer: BootTimer;
  readonly #startedAtNs = bootNs();
  readonly #nonce = randomBytes(16).toString('hex');
  #ackId = randomBytes(8).readBigUInt64BE() >> 1n;
  #holding: Holding | undefined;
  /** The enrolment before, retired; its map is still open, to know when its lease ends. */
  #retired: Holding | undefined;

  constructor(parts: PulseParts) {
    this.#parts = parts;
    const { config, log } = parts;
    const emit = (event: PulseEvent) => this.#agent.emit(event);
    this.#udp = createSocket({
      type: isIPv6(config.bind) ? 'udp6' : 'udp4',
      // After a stall of this process the heartbeats of a thousand hosts wait here.
      recvBufferSize: 1024 * 1024,
      // Peers are given by address; Node would still queue a look-up for each packet.
      lookup: (host, _options, done) => done(null, host, isIPv6(host) ? 6 : 4),
    });
    this.#agent = new AgentSocket({
      path: config.socket,
      counters: this.#counters,
      handle: (request) => this.#handle(request),
      greeted: () => this.#retell(),
    });
    this.#granting = new Granting({
      record: new PromiseRecord(`${config.socket}.promises`, bootId(), this.#startedAtNs),
      counters: this.#counters,
      nextAckId: () => ++this.#ackId,
      send: (peer, packet) => this.#send(peer, packet),
      emit,
      log,
    });
    this.#timer = new BootTimer((nowNs, lateNs) => this.#wake(nowNs, lateNs));
  }

  /** @throws {UnderstudyError} US_PULSE_BIND, US_PULSE_RUNNING, US_PULSE_SOCKET */
  async start(): Promise<void> {
    await this.#bind();
    try {
      await this.#agent.start();
    } catch (thrown) {
      this.#udp.close();
      throw thrown;
    }
  }

  /** Deadlines in guard maps stay: they run out by themselves. */
  async stop(): Promise<void> {
    this.#timer.stop();
    await this.#agent.stop();
    await new Promise<void>((resolve) => this.#udp.close(() => resolve()));
    this.#holding?.close();
    this.#retired?.close();
  }

  /** The address is bound by one process only, so two pulses of one host never act at once. */
  async #bind(): Promise<void> {
    const { bind, port } = this.#parts.config;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#udp.once('error', reject);
        this.#udp.bind({ address: bind, port, exclusive: true }, () => {
          this.#udp.off('error', reject);
          resolve();
        });
      });
    } catch (thrown) {
      this.#udp.close();
      const taken = (thrown as NodeJS.ErrnoException).code === 'EADDRINUSE';
      throw new UnderstudyError(
        {
          code: taken ? 'US_PULSE_RUNNING' : 'US_PULSE_BIND',
          action: 'cannot receive heartbeats on',
          object: `${bind} port ${port}`,
          cause: taken ? 'another process, maybe another pulse, does' : messageOf(thrown),
          remedy: taken
            ? 'stop it first: systemctl stop understudy-pulse'
            : 'bind an address of this host that is up',
        },
        { cause: thrown },
      );
    }
    this.#udp.on('error', () => this.#counters.add('udp-failed'));
    this.#udp.on('message', (bytes) => this.receive(bytes));
  }

  /** Takes one datagram, whoever sent it. */
  receive(bytes: Buffer): void {
    this.#counters.add('received');
    const packet = decodePacket(bytes, this.#parts.key);
    if (typeof packet === 'string') {
      this.#counters.add(packet);
      return;
    }
    // Read after receiving: a promise counts from no earlier than this.
    const nowNs = bootNs();
    if (packet.type === 'heartbeat') this.#granting.receive(packet, nowNs);
    else if (this.#holding === undefined) this.#counters.add('not-enrolled');
    else if (packet.receiver !== this.#holding.request.host) this.#counters.add('misaddressed');
    else this.#holding.receive(packet, nowNs);
    this.#arm();
  }

  #send(peer: PulsePeer, packet: Packet): void {
    const bytes = encodePacket(packet, this.#parts.key);
    this.#udp.send(bytes, peer.port, peer.address, (failed) => {
      if (failed) this.#counters.add('send-failed');
    });
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
    }
    // Time goes on while heartbeats are sent; each is stamped before it leaves, never after.
    this.#holding?.tick(nowNs);
    this.#granting.tick(nowNs);
    this.#arm();
  }

  async #handle(request: PulseRequest): Promise<PulseReply> {
    const ok: PulseReply = { kind: 'ok' };
    const nowNs = bootNs();
    switch (request.kind) {
      case 'hello':
        return this.#hello();
      case 'status':
        return this.#status(nowNs);
      case 'enrol':
        await this.#enrol(request);
        break;
      case 'retire':
        this.#retire();
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

  #hello(): PulseReply {
    const held = this.#holding?.request;
    return {
      kind: 'hello',
      pid: process.pid,
      nonce: this.#nonce,
      startedAtMs: toMs(this.#startedAtNs),
      bootId: bootId(),
      enrolled: held === undefined ? null : { host: held.host, incarnation: held.incarnation },
      controlling: this.#granting.controlling,
      stopped: this.#granting.stopped,
    };
  }

  #status(nowNs: bigint): PulseReply {
    const deadlineNs = this.#holding?.deadlineNs() ?? null;
    return {
      kind: 'status',
      nowMs: toMs(nowNs),
      deadlineMs: deadlineNs === null ? null : toMs(deadlineNs),
      hosts: this.#granting.status(nowNs),
      counters: this.#counters.toJSON(),
    };
  }

  #retell(): void {
    const nowNs = bootNs();
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
      mayEnrol(request, told, bootNs());
    }
    const holding = this.#startHolding(request, this.#openMap(openMap, request));
    earlier?.close();
    this.#retired = undefined;
    this.#holding = holding;
    const { log } = this.#parts;
    log({ host: request.host, incarnation: request.incarnation }, 'enrolled');
    holding.tick(bootNs());
  }

  /** A change of controllers or timing is treated like a restart: old acks are void (rule 12). */
  #startHolding(request: EnrolRequest, map: LeaseMap): Holding {
    const parts = {
      request,
      map,
      nonce: randomBytes(16).toString('hex'),
      counters: this.#counters,
      send: (peer: PulsePeer, packet: Packet) => this.#send(peer, packet),
      emit: (event: PulseEvent) => this.#agent.emit(event),
      log: this.#parts.log,
    };
    try {
      return new Holding(parts, bootNs());
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
