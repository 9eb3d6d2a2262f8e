import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { bootNs } from '../src/ffi/clock.js';
import { PulseClient } from '../src/pulse/client.js';
import { decodePacket, encodePacket } from '../src/pulse/packet.js';

/** A real pulse on loopback as a controller, and this process as all of its hosts. */
export interface PulseCosts {
  /** Of the pulse's process, user and kernel, for one heartbeat with its answer. */
  readonly cpuUs: number;
  /** Of one core. */
  readonly corePercent: number;
  /** Heartbeats that were acknowledged in time to be counted, of those sent. */
  readonly ackedPercent: number;
}

const program = new URL('../../bin/understudy', import.meta.url).pathname;
const controller = { name: 'c', address: '127.83.0.1', port: 7411 };
const farm = { address: '127.83.0.2', port: 7412 };
const heartbeatMs = 50;
/** Hosts do not beat in step: a tenth of them at a time. */
const slices = 10;
const settleMs = 1_500;
const measureMs = 5_000;

export async function measurePulse(hosts: number): Promise<PulseCosts> {
  const folder = mkdtempSync(join(tmpdir(), `usbench-${process.pid}-`));
  const key = randomBytes(32);
  const keyFile = join(folder, 'key');
  writeFileSync(keyFile, key.toString('hex'), { mode: 0o600 });
  const config = join(folder, 'pulse.json');
  const socket = join(folder, 'pulse.sock');
  const { address: bind, port } = controller;
  writeFileSync(config, JSON.stringify({ bind, port, keyFile, socket, realtime: false }));
  const pulse = spawn(process.execPath, [program, 'pulse', '--config', config], {
    stdio: 'ignore',
  });
  const client = new PulseClient({ path: socket, lastPauseMs: 50 });
  try {
    const connected = new Promise<void>((resolve) => client.onConnect(() => resolve()));
    client.start(new AbortController().signal);
    await connected;
    return await beat(hosts, client, Buffer.from(key.toString('hex')), pulse.pid ?? 0);
  } finally {
    client.stop();
    pulse.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

async function beat(
  hosts: number,
  client: PulseClient,
  key: Buffer,
  pid: number,
): Promise<PulseCosts> {
  const names = Array.from({ length: hosts }, (_, index) => `h${index + 1}`);
  const nonces = names.map(() => randomBytes(16).toString('hex'));
  const echoes = new Map<string, bigint>();
  const counts = { sent: 0, acked: 0 };
  const udp = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  await new Promise<void>((resolve) => udp.bind(farm.port, farm.address, resolve));
  udp.on('message', (bytes) => {
    const packet = decodePacket(bytes, key);
    if (typeof packet === 'string') return;
    echoes.set(packet.receiver, packet.ackId);
    if (packet.type === 'ack') counts.acked++;
  });
  const timing = { leaseMs: 200, clockMarginPercent: 1 };
  const peers = names.map((name) => ({ name, ...farm }));
  await client.request({ kind: 'control', controller: 'c', hosts: peers, stopped: [], ...timing });
  let seq = 0n;
  const send = (slice: number) => {
    if (slice === 0) seq++;
    for (let index = slice; index < hosts; index += slices) {
      const sender = names[index] ?? '';
      const bytes = encodePacket(
        {
          type: 'heartbeat',
          sender,
          receiver: 'c',
          incarnation: 1,
          nonce: nonces[index] ?? '',
          seq,
          sentAtNs: bootNs(),
          ackId: echoes.get(sender) ?? 0n,
          leaseNs: 0n,
          set: 0,
        },
        key,
      );
      udp.send(bytes, controller.port, controller.address);
      counts.sent++;
    }
  };
  let slice = 0;
  const timer = setInterval(() => send(slice++ % slices), heartbeatMs / slices);
  await pause(settleMs);
  const before = { ...counts, cpuUs: cpuUs(pid) };
  await pause(measureMs);
  const spentUs = cpuUs(pid) - before.cpuUs;
  const sent = counts.sent - before.sent;
  const acked = counts.acked - before.acked;
  clearInterval(timer);
  udp.close();
  return {
    cpuUs: spentUs / sent,
    // At the rate that hosts beat, should this process not have kept up with them.
    corePercent: ((spentUs / sent) * hosts * (1_000 / heartbeatMs)) / 1e4,
    ackedPercent: (100 * acked) / sent,
  };
}

/**
 * Time that all threads of a process have run so far. By schedstat, not by the ticks of /proc/PID/stat:
 * what is woken by timers, as heartbeats are, is found running by far more ticks than it should.
 */
function cpuUs(pid: number): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const ns = tasks.map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
  );
  return ns.reduce((sum, one) => sum + one, 0) / 1_000;
}
