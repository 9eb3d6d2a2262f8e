import { messageOf, UnderstudyError } from '../errors.js';
import { runChild } from './child.js';

/** tgtd as tgtadm(8) shows and changes it. Each call is one child, about 2 ms. */

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
}

/** Reads `tgtadm --op show --mode target`. Pure. */
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

/** Reads `tgtadm --op show --mode conn`. Pure. */
export function parseConnections(text: string): readonly TgtConnection[] {
  const found: TgtConnection[] = [];
  let session = 0;
  let connection = 0;
  for (const line of text.split('\n')) {
    const [, key, value] = /^\s*(Session|Connection|Initiator): (\S+)/.exec(line) ?? [];
    if (key === 'Session') session = Number(value);
    else if (key === 'Connection') connection = Number(value);
    else if (key === 'Initiator') found.push({ session, connection, initiator: value ?? '' });
  }
  return found;
}

/** RFC 7143 4.2.7: names begin with their format; all else in an ACL is an address. */
export function isInitiatorName(entry: string): boolean {
  return /^(iqn|eui|naa)\./.test(entry);
}

export interface TgtadmOptions {
  /** Default tgtadm, from PATH. */
  readonly tgtadm?: string;
  /** `-C` of tgtd; default 0. */
  readonly controlPort?: number;
  /** TGT_IPC_SOCKET of tgtd, where it is not the default. */
  readonly ipcSocket?: string;
  /** Bound on each call; default 2000. */
  readonly timeoutMs?: number;
}

/** @throws in each call {UnderstudyError} US_STORAGE_TARGET_DAEMON, US_STORAGE_TGTADM */
export class Tgtadm {
  readonly #options: TgtadmOptions;

  constructor(options: TgtadmOptions = {}) {
    this.#options = options;
  }

  async targets(signal: AbortSignal): Promise<readonly TgtTarget[]> {
    return parseTargets(await this.#run(['--op', 'show', '--mode', 'target'], signal));
  }

  async connections(tid: number, signal: AbortSignal): Promise<readonly TgtConnection[]> {
    const args = ['--op', 'show', '--mode', 'conn', '--tid', String(tid)];
    return parseConnections(await this.#run(args, signal));
  }

  /** Idempotent. */
  async bind(tid: number, entry: string, signal: AbortSignal): Promise<void> {
    await this.#acl('bind', tid, entry, /already exists/, signal);
  }

  /** Idempotent. What is logged in stays logged in. */
  async unbind(tid: number, entry: string, signal: AbortSignal): Promise<void> {
    await this.#acl('unbind', tid, entry, /does not exist/, signal);
  }

  /** Idempotent. */
  async disconnect(tid: number, connection: TgtConnection, signal: AbortSignal): Promise<void> {
    const which = ['--sid', String(connection.session), '--cid', String(connection.connection)];
    const args = ['--op', 'delete', '--mode', 'conn', '--tid', String(tid), ...which];
    await this.#run(args, signal, /can't find the (session|connection)/);
  }

  async #acl(
    op: 'bind' | 'unbind',
    tid: number,
    entry: string,
    done: RegExp,
    signal: AbortSignal,
  ): Promise<void> {
    const option = isInitiatorName(entry) ? '--initiator-name' : '--initiator-address';
    const args = ['--op', op, '--mode', 'target', '--tid', String(tid), option, entry];
    await this.#run(args, signal, done);
  }

  /** @param alreadyDone words with which tgtadm says that there was nothing to do */
  async #run(args: readonly string[], signal: AbortSignal, alreadyDone?: RegExp): Promise<string> {
    const { tgtadm = 'tgtadm', controlPort = 0, ipcSocket, timeoutMs = 2_000 } = this.#options;
    const result = await runChild(tgtadm, ['-C', String(controlPort), '--lld', 'iscsi', ...args], {
      timeoutMs,
      signal,
      ...(ipcSocket === undefined ? {} : { env: { TGT_IPC_SOCKET: ipcSocket } }),
    }).catch((thrown: unknown) => {
      signal.throwIfAborted();
      throw daemonError(messageOf(thrown), 'install the package tgt on this host');
    });
    if (result.code === 0) return result.stdout;
    const words = result.stderr.trim().replace(/^tgtadm: /, '');
    if (alreadyDone?.test(words)) return result.stdout;
    if (result.timedOut) {
      throw daemonError(`no answer in ${timeoutMs} ms`, 'see whether tgtd hangs; restart it');
    }
    // The errno of connect(2) on its socket is the exit code: ENOTCONN, ECONNREFUSED, ENOENT.
    if (/failed to send request hdr|can't connect|connect/i.test(words)) {
      throw daemonError(words, `start tgt.service (tgtd, control port ${controlPort})`);
    }
    throw new UnderstudyError({
      code: 'US_STORAGE_TGTADM',
      action: 'was refused',
      object: `tgtadm ${args.join(' ')}`,
      cause: words || `exit ${result.code}`,
      remedy: 'see the log of tgtd',
    });
  }
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
