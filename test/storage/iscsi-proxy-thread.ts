import { connect, createServer, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import type { Answer, ProxyAddress, ProxyOrder, ProxySeen } from './iscsi-proxy.js';
import { PduReader } from './pdu-reader.js';

/** The thread of an IscsiProxy: what passes, and what it is told to do. */

/** WRITE(10), (16), COMPARE AND WRITE, WRITE SAME(10), (16), UNMAP (SBC-3). */
const writing: ReadonlySet<number> = new Set([0x2a, 0x8a, 0x89, 0x41, 0x93, 0x42]);
const opcodes = { command: 0x01, login: 0x03, commandAnswer: 0x21, loginAnswer: 0x23 } as const;
const headerBytes = 48;
/** Of a PDU's CDB, and in that of WRITE(10) and (16) a byte of the block's number. */
const cdbAt = 32;
const lbaByteAt = { 42: cdbAt + 4, 138: cdbAt + 8 } as const;

const { port, targetPort } = workerData as ProxyAddress;
const sockets = new Set<Socket>();
const answers: Answer[] = [];
const headerDigests: string[] = [];
/** So many writes from now on go to another block than they were meant for. */
let damage = 0;
/** Connections that were taken to be ended, since that was ordered; undefined: they are passed on. */
let hungUp: number | undefined;
/** A login may be at any of its steps then: each connection gets a little longer than the one before. */
const longestHangUpMs = 12;

const server = createServer(pass);
listen();
parentPort?.on('message', (order: ProxyOrder) => {
  if (order === 'restore') {
    const listening = hungUp !== undefined;
    hungUp = undefined;
    if (listening) tell();
    else listen();
    return;
  }
  if (order === 'hang up') {
    hungUp = 0;
    for (const socket of sockets) socket.destroy();
  }
  if (order === 'cut') {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
  if (order === 'damage') damage += 1;
  tell();
});

/** Tells when it is. */
function listen(): void {
  server.listen(port, '127.0.0.1', () => tell());
}

function tell(): void {
  parentPort?.postMessage({ answers, headerDigests, damage } satisfies ProxySeen);
}

function pass(initiator: Socket): void {
  if (hungUp !== undefined) {
    initiator.on('error', () => {});
    setTimeout(() => initiator.destroy(), hungUp % longestHangUpMs);
    hungUp += 1;
    return;
  }
  const target = connect(targetPort, '127.0.0.1');
  const session = new Session();
  for (const [from, to, handle] of [
    [initiator, target, (pdu: Buffer) => session.asked(pdu)],
    [target, initiator, (pdu: Buffer) => session.answered(pdu)],
  ] as const) {
    const reader = new PduReader(session, (pdu) => {
      handle(pdu);
      to.write(pdu);
    });
    sockets.add(from);
    from.setNoDelay(true);
    from.on('data', (chunk: Buffer) => reader.take(chunk));
    from.on('error', () => {}); // its end follows
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
  }
}

class Session {
  /** Behind each header, once the login is over. */
  digestBytes = 0;
  /** By initiator task tag: the operation code of the CDB. */
  readonly #open = new Map<number, number>();
  #initiator = '';

  asked(pdu: Buffer): void {
    const opcode = (pdu[0] ?? 0) & 0x3f;
    if (opcode === opcodes.login) this.#initiator ||= textOf('InitiatorName', pdu);
    if (opcode !== opcodes.command) return;
    const operation = pdu[cdbAt] ?? 0;
    this.#open.set(pdu.readUInt32BE(16), operation);
    const at = lbaByteAt[operation as keyof typeof lbaByteAt];
    if (at === undefined || damage === 0) return;
    damage -= 1;
    pdu[at] = (pdu[at] ?? 0) ^ 1;
  }

  answered(pdu: Buffer): void {
    const opcode = (pdu[0] ?? 0) & 0x3f;
    if (opcode === opcodes.loginAnswer) this.#agreed(pdu);
    if (opcode !== opcodes.commandAnswer) return;
    const writes = writing.has(this.#open.get(pdu.readUInt32BE(16)) ?? 0);
    answers.push({ initiator: this.#initiator, writes, status: pdu[3] ?? 0 });
  }

  #agreed(pdu: Buffer): void {
    const digest = textOf('HeaderDigest', pdu);
    if (digest === '') return;
    headerDigests.push(digest);
    // It counts from the full feature phase on, of which this answer is the last step.
    if (digest === 'CRC32C') this.digestBytes = 4;
  }
}

function textOf(key: string, pdu: Buffer): string {
  const lines = pdu.toString('latin1', headerBytes).split('\0');
  const found = lines.find((line) => line.startsWith(`${key}=`));
  return found?.slice(key.length + 1) ?? '';
}
