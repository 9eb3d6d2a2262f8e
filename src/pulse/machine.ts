import { randomBytes } from 'node:crypto';
import { bootId, bootNs } from '../ffi/clock.js';
import { systemTimers } from '../store/timers.js';
import { AgentSocket, type AgentSocketParts } from './agent-socket.js';
import { BootTimer, type Due } from './boot-timer.js';
import type { PulseConfig } from './config.js';
import type { Counters } from './counters.js';
import type { ClusterKeys } from './keys.js';
import type { Packet } from './packet.js';
import { PromiseRecord, recordFile } from './promise-record.js';
import type { PulseEvent, PulsePeer } from './protocol.js';
import { UdpWire } from './udp-wire.js';

/** Carries heartbeats and answers between pulses. */
export interface Wire {
  start(): Promise<void>;
  stop(): Promise<void>;
  send(peer: PulsePeer, packet: Packet): void;
}

export interface WireParts {
  readonly counters: Counters;
  /** Takes one packet whose sender has proven to be who it says. */
  receive(packet: Packet): void;
}

/** Where this host's agent speaks to pulse. */
export interface AgentPort {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Events nobody listens to are lost. */
  emit(event: PulseEvent): void;
}

/** What pulse stands on: one host, as `thisMachine` has it; the simulator has its own. */
export interface PulseMachine {
  bootNs(): bigint;
  bootId(): string;
  randomBytes(count: number): Buffer;
  /** Absent where packets are not signed (the simulator). */
  readonly keys?: Pick<ClusterKeys, 'names' | 'reload'>;
  timer(due: Due): Pick<BootTimer, 'arm' | 'stop'>;
  wire(parts: WireParts): Wire;
  agentPort(parts: AgentSocketParts): AgentPort;
  promises(startedAtNs: bigint): Pick<PromiseRecord, 'renew'>;
}

export function thisMachine(config: PulseConfig, keys: ClusterKeys) {
  const { socket } = config;
  return {
    bootNs,
    bootId,
    randomBytes,
    keys,
    timer: (due: Due) => new BootTimer(due, bootNs, systemTimers()),
    wire: (parts: WireParts) => new UdpWire(config, keys, parts),
    agentPort: (parts: AgentSocketParts) => new AgentSocket(socket, parts),
    promises: (startedAtNs: bigint) =>
      new PromiseRecord(recordFile(`${socket}.promises`), bootId(), startedAtNs),
  } satisfies PulseMachine;
}
