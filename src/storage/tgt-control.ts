import { connect } from 'node:net';
import { messageOf, UnderstudyError } from '../errors.js';
import { type Peer, type Portals, plainAddress } from './half-login.js';

/**
 * tgtd by its management socket, as tgtadm(8) speaks to it: a takeover waits for eight calls, and
 * eight children take 45 ms, the calls themselves 2 ms.
 */

export interface TgtTarget {
  readonly tid: number;
  readonly name: string;
  /** Addresses, `ALL` and initiator names, as they are in its ACL. */
  readonly admitted: readonly string[];
}

export interface TgtConnection {
  readonly session: number;
  readonly connection: number;
  readonly initiator: string;
  /** Of the initiator, as tgtd spells it; '' where it tells none. */
  readonly address: string;
}

/** Of `tgtadm --op show --mode portal`: "Portal: 10.77.0.1:3260,1", "Portal: [::]:3260,1". Pure. */
export function parsePortals(text: string): Portals {
  const found = [...text.matchAll(/^Portal: (\S+):(\d+),\d+$/gm)];
  const addresses = found.map(([, address = '']) => address);
  return {
    ports: new Set(found.map(([, , port]) => Number(port))),
    ipv4: addresses.some((address) => !address.startsWith('[')),
    ipv6: addresses.some((address) => address.startsWith('[')),
  };
}

/** Every logged-in connection, of `tgtadm --op show --mode target`. Pure. */
export function parsePeers(text: string): readonly Peer[] {
  const found: Peer[] = [];
  let initiator = '';
  for (const line of text.split('\n')) {
    const [, key, value = ''] = /^\s+(Initiator|IP Address): (\S+)/.exec(line) ?? [];
    if (key === 'Initiator') initiator = value;
    if (key === 'IP Address') found.push({ initiator, address: plainAddress(value) });
  }
  return found;
}

/** Reads what `tgtadm --op show --mode target` prints. Pure. */
export function parseTargets(text: string): readonly TgtTarget[] {
  const targets: { tid: number; name: string; admitted: string[] }[] = [];
  let inAcl = false;
  for (const line of text.split('\n')) {
    const head = /^Target (\d+): (\S+)/.exec(line);
    if (head !== null) {
      targets.push({ tid: Number(head[1]), name: head[2] ?? '', admitted: [] });
      inAcl = false;
    } else if (/^ {4}\S/.test(line)) {
      inAcl = line.trim() === 'ACL information:';
    } else if (inAcl && line.trim() !== '') {
      targets.at(-1)?.admitted.push(line.trim());
    }
  }
  return targets;
}

/** Reads what `tgtadm --op show --mode conn` prints. Pure. */
export function parseConnections(text: string): readonly TgtConnection[] {
  const found: TgtConnection[] = [];
  let session = 0;
  let connection = 0;
  for (const line of text.split('\n')) {
    const [, key, value] = /^\s*(Session|Connection|Initiator|IP Address): (\S+)/.exec(line) ?? [];
    if (key === 'Session') session = Number(value);
    else if (key === 'Connection') connection = Number(value);
    else if (key === 'Initiator') {
      found.push({ session, connection, initiator: value ?? '', address: '' });
    } else if (key === 'IP Address') {
      const last = found.pop();
      if (last !== undefined) found.push({ ...last, address: value ?? '' });
    }
  }
  return found;
}

/** RFC 7143 4.2.7: names begin with their format; all else in an ACL is an address. */
export function isInitiatorName(entry: string): boolean {
  return /^(iqn|eui|naa)\./.test(entry);
}

export interface TgtControlOptions {
  /** `-C` of tgtd; default 0. */
  readonly controlPort?: number;
  /** TGT_IPC_SOCKET of tgtd; default /var/run/tgtd/socket. */
  readonly ipcSocket?: string;
  /** Bound on each call; default 2000. */
  readonly timeoutMs?: number;
}

/** usr/tgtadm.h of tgt: the same in every release since 1.0.8 (2010). */
const modes = { target: 1, portal: 3, connection: 6 } as const;
const operations = { delete: 1, show: 2, bind: 3, unbind: 4 } as const;
const requestBytes = 120;
const replyHeadBytes = 8;
const longestReplyBytes = 16 * 1024 * 1024;
/** usr/tgtadm_error.h. */
const errors: Readonly<Record<number, string>> = {
  4: "can't find the target",
  6: "can't find the session",
  7: "can't find the connection",
  12: 'this access control rule already exists',
  13: 'this access control rule does not exist',
};
const noSession = 6;
const noConnection = 7;
const aclExists = 12;
const aclMissing = 13;

export interface TgtRequest {
  readonly mode: keyof typeof modes;
  readonly operation: keyof typeof operations;
  readonly tid?: number;
  readonly connection?: TgtConnection;
  /** `name=value`. */
  readonly parameter?: string;
}

/** struct tgtadm_req and what follows it. Pure. */
export function encodeTgtRequest(request: TgtRequest): Buffer {
  const { mode, operation, tid = -1, connection, parameter } = request;
  const text = parameter === undefined ? Buffer.alloc(0) : Buffer.from(`${parameter}\0`);
  const bytes = Buffer.alloc(requestBytes);
  bytes.writeUInt32LE(modes[mode], 0);
  bytes.writeUInt32LE(operations[operation], 4);
  bytes.write('iscsi', 8, 'latin1');
  bytes.writeUInt32LE(requestBytes + text.length, 72);
  bytes.writeInt32LE(tid, 76);
  bytes.writeBigUInt64LE(BigInt(connection?.session ?? 0), 80);
  // No logical unit is meant.
  bytes.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, 88);
  bytes.writeUInt32LE(connection?.connection ?? 0, 96);
  return Buffer.concat([bytes, text]);
}

/** @throws in each call {UnderstudyError} US_STORAGE_TARGET_DAEMON, US_STORAGE_TGTADM */
export class TgtControl {
  readonly #options: TgtControlOptions;

  constructor(options: TgtControlOptions = {}) {
    this.#options = options;
  }

  async targets(signal: AbortSignal): Promise<readonly TgtTarget[]> {
    return parseTargets(await this.#ask({ mode: 'target', operation: 'show' }, signal));
  }

  async connections(tid: number, signal: AbortSignal): Promise<readonly TgtConnection[]> {
    const request = { mode: 'connection', operation: 'show', tid } as const;
    return parseConnections(await this.#ask(request, signal));
  }

  async portals(signal: AbortSignal): Promise<Portals> {
    return parsePortals(await this.#ask({ mode: 'portal', operation: 'show' }, signal));
  }

  /** Each connection that is logged in, to whatever target. */
  async peers(signal: AbortSignal): Promise<readonly Peer[]> {
    return parsePeers(await this.#ask({ mode: 'target', operation: 'show' }, signal));
  }

  /** Idempotent. */
  async bind(tid: number, entry: string, signal: AbortSignal): Promise<void> {
    const parameter = aclParameter(entry);
    const request = { mode: 'target', operation: 'bind', tid, parameter } as const;
    await this.#ask(request, signal, [aclExists]);
  }

  /** Idempotent. What is logged in stays logged in. */
  async unbind(tid: number, entry: string, signal: AbortSignal): Promise<void> {
    const parameter = aclParameter(entry);
    const request = { mode: 'target', operation: 'unbind', tid, parameter } as const;
    await this.#ask(request, signal, [aclMissing]);
  }

  /** Idempotent. */
  async disconnect(tid: number, connection: TgtConnection, signal: AbortSignal): Promise<void> {
    const request = { mode: 'connection', operation: 'delete', tid, connection } as const;
    await this.#ask(request, signal, [noSession, noConnection]);
  }

  /** @param alreadyDone errors by which tgtd says that there was nothing to do */
  async #ask(
    request: TgtRequest,
    signal: AbortSignal,
    alreadyDone: readonly number[] = [],
  ): Promise<string> {
    const reply = await this.#exchange(encodeTgtRequest(request), signal);
    const lengthBytes = reply.length < replyHeadBytes ? replyHeadBytes : reply.readUInt32LE(4);
    if (lengthBytes !== reply.length) {
      const words = `its answer has ${reply.length} bytes where it says ${lengthBytes}`;
      throw daemonError(words, 'see whether tgtd still runs; its version must be 1.0.8 or later');
    }
    const error = reply.readUInt32LE(0);
    if (error === 0 || alreadyDone.includes(error)) {
      // The text ends with NUL.
      return reply.toString('utf8', replyHeadBytes).replace(/\0+$/, '');
    }
    const { mode, operation, tid, parameter = '' } = request;
    throw new UnderstudyError({
      code: 'US_STORAGE_TGTADM',
      action: 'was refused',
      object: `${operation} of ${mode} ${tid ?? ''} ${parameter}`.trimEnd(),
      cause: errors[error] ?? `error ${error} of tgtd`,
      remedy: 'see the log of tgtd',
    });
  }

  /** One connection a request: tgtd closes it after its answer. */
  #exchange(request: Buffer, signal: AbortSignal): Promise<Buffer> {
    const {
      controlPort = 0,
      ipcSocket = '/var/run/tgtd/socket',
      timeoutMs = 2_000,
    } = this.#options;
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const socket = connect(`${ipcSocket}.${controlPort}`);
      const parts: Buffer[] = [];
      let sizeBytes = 0;
      const end = (then: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', abort);
        socket.destroy();
        then();
      };
      const fail = (cause: string, remedy: string) => end(() => reject(daemonError(cause, remedy)));
      const abort = () => end(() => reject(signal.reason));
      const timer = setTimeout(
        () => fail(`no answer in ${timeoutMs} ms`, 'see whether tgtd hangs; restart it'),
        timeoutMs,
      );
      signal.addEventListener('abort', abort, { once: true });
      socket.on('connect', () => socket.write(request));
      socket.on('data', (chunk: Buffer) => {
        parts.push(chunk);
        sizeBytes += chunk.length;
        if (sizeBytes > longestReplyBytes) fail('an answer without end', 'restart tgtd');
      });
      socket.on('error', (thrown) =>
        fail(messageOf(thrown), `start tgt.service (tgtd, control port ${controlPort})`),
      );
      socket.on('end', () => end(() => resolve(Buffer.concat(parts))));
    });
  }
}

function aclParameter(entry: string): string {
  return `${isInitiatorName(entry) ? 'initiator-name' : 'initiator-address'}=${entry}`;
}

function daemonError(cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_TARGET_DAEMON',
    action: 'cannot talk to',
    object: 'the iSCSI target daemon (tgtd)',
    cause,
    remedy,
  });
}
