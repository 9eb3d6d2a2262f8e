import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';
import { PduReader } from './pdu-reader.js';

/**
 * An initiator of which a test decides when it goes on: one that stops in the middle of its login, or
 * between the announcement of a write and its data (RFC 7143, 11). What a host does that is stopped.
 */
const opcodes = {
  command: 0x01,
  dataOut: 0x05,
  answer: 0x21,
  loginAnswer: 0x23,
  r2t: 0x31,
} as const;
const immediate = 0x40;
const headerBytes = 48;
/** What a target would ask otherwise, and wait for the answer. */
const terms = [
  ...['HeaderDigest=None', 'DataDigest=None', 'ImmediateData=No', 'InitialR2T=Yes'],
  ...['MaxConnections=1', 'MaxRecvDataSegmentLength=8192', 'MaxBurstLength=262144'],
  ...['FirstBurstLength=65536', 'DefaultTime2Wait=2', 'DefaultTime2Retain=0'],
  ...['MaxOutstandingR2T=1', 'DataPDUInOrder=Yes', 'DataSequenceInOrder=Yes'],
  'ErrorRecoveryLevel=0',
];
/** Logins, and writes. */
const tags = { login: 1, write: 5 } as const;

export interface RawOptions {
  readonly port: number;
  readonly target: string;
  readonly initiator: string;
  /** The address that it comes from. */
  readonly from?: string;
}

export interface Announced {
  /** Sends the data that the target asked for. */
  goOn(fill: number): void;
}

export class RawInitiator {
  readonly #socket: Socket;
  readonly #pdus: Buffer[] = [];
  #waiting: (() => void)[] = [];
  #closed = false;
  #commands = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const reader = new PduReader({ digestBytes: 0 }, (pdu) => {
      this.#pdus.push(pdu);
      this.#wake();
    });
    socket.on('data', (chunk: Buffer) => reader.take(chunk));
    socket.on('error', () => {}); // its end follows
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** Connected, and with the first half of its login done. */
  static async begin(
    t: Test,
    { port, target, initiator, from = '127.0.0.1' }: RawOptions,
  ): Promise<RawInitiator> {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from });
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    const self = new RawInitiator(socket);
    const names = [`InitiatorName=${initiator}`, `TargetName=${target}`, 'SessionType=Normal'];
    socket.write(loginRequest(0, 1, [...names, 'AuthMethod=None']));
    const answer = await self.#next(opcodes.loginAnswer);
    t.equal(answer?.readUInt16BE(36), 0, 'the first half of the login is accepted');
    return self;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The second half of its login; told of nothing when the target ends the connection instead. */
  finishLogin(): void {
    this.#socket.write(loginRequest(1, 3, terms));
  }

  /** @returns whether it is logged in */
  async loggedIn(): Promise<boolean> {
    const answer = await this.#next(opcodes.loginAnswer);
    return answer?.readUInt16BE(36) === 0;
  }

  /** One block; the target has answered that it is ready for it. */
  async announceWrite(lun: number, block: number, sizeBytes = 512): Promise<Announced> {
    this.#sendWrite(lun, block, sizeBytes);
    const ready = await this.#next(opcodes.r2t);
    if (ready === undefined) throw new Error('the target ended the connection');
    return { goOn: (fill) => this.#sendData(ready, fill) };
  }

  /** @returns the status of a write that is answered at once (SAM-5 5.3.1) */
  async refusedWrite(lun: number, block: number): Promise<number | undefined> {
    this.#sendWrite(lun, block, 512);
    return this.answered();
  }

  end(): void {
    this.#socket.destroy();
  }

  /** Status of a command's answer (SAM-5 5.3.1); undefined when the connection ended instead. */
  async answered(): Promise<number | undefined> {
    return (await this.#next(opcodes.answer))?.[3];
  }

  #sendWrite(lun: number, block: number, sizeBytes: number): void {
    const request = Buffer.alloc(headerBytes);
    request[0] = opcodes.command;
    request[1] = 0xa1; // final, writes, simple queue
    request[9] = lun;
    request.writeUInt32BE(tags.write, 16);
    request.writeUInt32BE(sizeBytes, 20);
    request.writeUInt32BE(this.#commands++, 24);
    request[32] = 0x2a; // WRITE(10)
    request.writeUInt32BE(block, 34);
    request.writeUInt16BE(sizeBytes / 512, 39);
    this.#socket.write(request);
  }

  #sendData(ready: Buffer, fill: number): void {
    const lengthBytes = ready.readUInt32BE(44);
    const data = Buffer.alloc(headerBytes + lengthBytes, fill);
    data.fill(0, 0, headerBytes);
    data[0] = opcodes.dataOut;
    data[1] = 0x80;
    data.writeUIntBE(lengthBytes, 5, 3);
    ready.copy(data, 8, 8, 16); // LUN
    data.writeUInt32BE(tags.write, 16);
    ready.copy(data, 20, 20, 24); // target transfer tag
    ready.copy(data, 40, 40, 44); // offset
    this.#socket.write(data);
  }

  async #next(opcode: number): Promise<Buffer | undefined> {
    for (;;) {
      const at = this.#pdus.findIndex((pdu) => ((pdu[0] ?? 0) & 0x3f) === opcode);
      if (at >= 0) return this.#pdus.splice(at, 1)[0];
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** RFC 7143 11.12: a Login Request. */
function loginRequest(stage: number, next: number, text: readonly string[]): Buffer {
  const data = Buffer.from(text.map((pair) => `${pair}\0`).join(''));
  const request = Buffer.alloc(headerBytes + Math.ceil(data.length / 4) * 4);
  request[0] = 0x03 | immediate;
  request[1] = 0x80 | (stage << 2) | next;
  request.writeUIntBE(data.length, 5, 3);
  request[8] = 0x80; // ISID: random
  request[11] = 7;
  request.writeUInt32BE(tags.login, 16);
  request.writeUInt32BE(1, 24);
  data.copy(request, headerBytes);
  return request;
}
