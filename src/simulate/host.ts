import { Agent } from '../agent/agent.js';
import type { Log } from '../agent/loop.js';
import type { PulsePort } from '../agent/pulse-port.js';
import type { HostConfig } from '../config/types.js';
import { BootTimer } from '../pulse/boot-timer.js';
import type { OpenLeaseMap } from '../pulse/lease-map.js';
import type { PulseMachine } from '../pulse/machine.js';
import { PromiseRecord, type RecordFile } from '../pulse/promise-record.js';
import { Pulse } from '../pulse/pulse.js';
import type { Store } from '../store/types.js';
import type { HostClock } from './clock.js';
import type { Datagrams } from './datagrams.js';
import { Effort, type Mood } from './effort.js';
import { Kernel } from './kernel.js';
import { SimNetwork } from './network-adapter.js';
import { SimWorkloads, simDispatch } from './other-adapters.js';
import { SimProcess } from './process.js';
import { SimAgentPort, SimPulseLink } from './pulse-link.js';
import type { Random } from './random.js';
import type { Sabotage } from './sabotage.js';
import { SimStorage, type SimStorageParts } from './storage-adapter.js';
import { msNs, secondNs, type VirtualTime } from './time.js';

export interface SimHostParts {
  readonly config: HostConfig;
  readonly time: VirtualTime;
  readonly clock: HostClock;
  readonly random: Random;
  readonly datagrams: Datagrams;
  readonly sabotage: Sabotage;
  readonly log: Log;
  /** At the end of the run. */
  readonly ended: AbortSignal;
  /** Something changed that may let a frame pass or a write be accepted. */
  changed(): void;
  openStore(process: SimProcess): Store;
  letsIn: SimStorageParts['letsIn'];
  reserve: SimStorageParts['reserve'];
  read: SimStorageParts['read'];
  answering(network: string, address: string): string | undefined;
  switchOff(host: string): void;
}

const pulsePort = 7411;

interface RunningPulse {
  readonly process: SimProcess;
  readonly port: SimAgentPort;
  deafen(): void;
}

/** A machine with its kernel, its pulse and its agent: the production classes, on simulated parts. */
export class SimHost {
  readonly name: string;
  readonly clock: HostClock;
  readonly mood: Mood = { failing: 0, slowness: 1 };
  readonly #parts: SimHostParts;
  #kernel: Kernel;
  #boots = 0;
  #up = false;
  #bootToken = '';
  #promises = '';
  #pulse: RunningPulse | undefined;
  #agent: { readonly process: SimProcess; readonly link: SimPulseLink } | undefined;
  readonly #stops = new Set<string>();

  constructor(parts: SimHostParts) {
    this.#parts = parts;
    this.name = parts.config.name;
    this.clock = parts.clock;
    this.#kernel = this.#newKernel();
  }

  get up(): boolean {
    return this.#up;
  }

  /** How often it was switched on. */
  get boots(): number {
    return this.#boots;
  }

  get kernel(): Kernel {
    return this.#kernel;
  }

  get pulse(): SimProcess | undefined {
    return this.#pulse?.process;
  }

  get agent(): SimProcess | undefined {
    return this.#agent?.process;
  }

  /** Power on: everything of before is forgotten, the boot clock starts anew. */
  boot(): void {
    if (this.#up) return;
    const { random, clock, time } = this.#parts;
    this.#up = true;
    this.#boots++;
    // Only the first boot may have been long ago.
    if (this.#boots > 1) clock.reset(random.between(1, 5) * secondNs);
    this.#bootToken = random.bytes(8).toString('hex');
    this.#promises = '';
    this.#kernel = this.#newKernel();
    const boot = this.#boots;
    const starting = (action: () => void) => () => {
      if (this.#up && this.#boots === boot) action();
    };
    time.after(
      random.between(20, 200) * msNs,
      starting(() => this.startPulse()),
    );
    time.after(
      random.between(20, 500) * msNs,
      starting(() => this.startAgent()),
    );
  }

  /** Power cut. */
  powerOff(): void {
    this.#up = false;
    this.killPulse();
    this.killAgent();
    this.#stops.clear();
    this.#kernel = this.#newKernel();
    this.#parts.changed();
  }

  /** SIGSTOP of everything on the host; the kernel goes on. */
  pause(why: string): void {
    this.#stops.add(why);
    this.#pulse?.process.stop(why);
    this.#agent?.process.stop(why);
  }

  resume(why: string): void {
    this.#stops.delete(why);
    this.#pulse?.process.resume(why);
    this.#agent?.process.resume(why);
  }

  startPulse(): void {
    if (!this.#up || this.#pulse !== undefined) return;
    const process = this.#newProcess('pulse');
    let port: SimAgentPort | undefined;
    let deafen = () => {};
    const machine: PulseMachine = {
      bootNs: () => this.clock.bootNs(),
      bootId: () => this.#bootId,
      randomBytes: (count) => this.#parts.random.bytes(count),
      timer: (due) => new BootTimer(due, () => this.clock.bootNs(), process.timers),
      wire: ({ receive }) => ({
        start: async () => {
          const { datagrams } = this.#parts;
          deafen = datagrams.listen(this.name, (packet) =>
            process.deliver(() => {
              datagrams.arrived(this.name, packet);
              receive(packet);
            }),
          );
        },
        stop: async () => deafen(),
        send: (peer, packet) => this.#parts.datagrams.send(this.name, peer.name, packet),
      }),
      agentPort: (parts) => {
        port = new SimAgentPort(process, parts);
        return port;
      },
      promises: (startedAtNs) => new PromiseRecord(this.#promiseFile(), this.#bootId, startedAtNs),
    };
    const openLeaseMap: OpenLeaseMap = (path) => this.#kernel.openLeaseMap(path);
    const pulse = new Pulse({ machine, loadLeaseMaps: async () => openLeaseMap, log: () => {} });
    if (port === undefined) throw new Error('pulse has no port for its agent');
    void pulse.start();
    this.#pulse = { process, port, deafen: () => deafen() };
  }

  /** SIGKILL. */
  killPulse(): void {
    const pulse = this.#pulse;
    if (pulse === undefined) return;
    this.#pulse = undefined;
    this.#agent?.link.lost(pulse.port);
    if (this.#parts.sabotage.oldPulseLives) return;
    pulse.deafen();
    pulse.process.kill();
  }

  startAgent(): void {
    if (!this.#up || this.#agent !== undefined) return;
    const { sabotage, config, log, time, random } = this.#parts;
    const process = this.#newProcess('agent');
    const link = new SimPulseLink(process, () => this.#pulse?.port);
    this.#agent = { process, link };
    const effort = new Effort(process, random, this.mood);
    const kernel = this.#kernel;
    const store = this.#parts.openStore(process);
    const port: PulsePort = link;
    const agent = new Agent({
      facts: { host: this.name, underlayInterface: 'eth1', underlayAddress: config.address },
      pulsePort,
      bootId: this.#bootId,
      bootToken: this.#bootToken,
      features: {
        vlan: true,
        kernel: 'simulated',
        controllerSets: true,
        tellsLease: true,
        tellsReady: true,
      },
      announce: true,
      store: sabotage.store?.(store, this.name) ?? store,
      pulse: sabotage.pulse?.(port, process) ?? port,
      network: new SimNetwork({
        kernel,
        effort,
        remove: (name) =>
          sabotage.devicesStay ? kernel.abandonNamespace(name) : kernel.removeNamespace(name),
        answering: this.#parts.answering,
      }),
      storage: new SimStorage({ ...this.#parts, kernel, effort }),
      workload: new SimWorkloads(kernel, effort),
      dispatch: simDispatch(effort),
      power: { switchOff: (host) => this.#switchOff(effort, host) },
      maps: kernel.leaseMaps,
      probe: async () => undefined,
      portalsFailure: async () => undefined,
      script: async () => undefined,
      clock: {
        bootMs: () => this.clock.bootMs(),
        unixMs: () => 1.8e12 + Math.floor(time.nowNs / msNs),
      },
      timers: process.timers,
      log,
      goFirst: () => undefined,
      namespacePath: (name) => `/run/netns/us-${name}`,
      hostMount: (personality, lun) => `/run/understudy/${personality}/${lun}`,
    });
    agent.start(this.#parts.ended).then(
      () => link.start(),
      () => this.#restartAgent(process),
    );
  }

  killAgent(): void {
    const agent = this.#agent;
    if (agent === undefined) return;
    this.#agent = undefined;
    agent.link.close();
    agent.process.kill();
  }

  /** It ended by itself, the store was not there: systemd starts it again. */
  #restartAgent(process: SimProcess): void {
    if (this.#agent?.process !== process) return;
    this.killAgent();
    this.#parts.time.after(secondNs, () => this.startAgent());
  }

  async #switchOff(effort: Effort, host: string): Promise<void> {
    await effort.step(`switch off ${host}`, 300, 2_000);
    this.#parts.switchOff(host);
  }

  #newProcess(kind: string): SimProcess {
    const { time, random } = this.#parts;
    const process = new SimProcess(`${kind} of ${this.name}`, time, this.clock, random);
    for (const why of this.#stops) process.stop(why);
    return process;
  }

  #newKernel(): Kernel {
    return new Kernel(this.clock, this.#parts.changed, this.#parts.sabotage);
  }

  get #bootId(): string {
    return `boot-${this.name}-${this.#boots}`;
  }

  #promiseFile(): RecordFile {
    return {
      path: '/run/understudy/pulse.sock.promises',
      read: () => this.#promises,
      write: (content) => {
        this.#promises = content;
      },
    };
  }
}
