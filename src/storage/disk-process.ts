import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { messageOf, UnderstudyError } from '../errors.js';
import { asIoFlusher } from '../ffi/io-flusher.js';
import { closeProcess, openProcess, signalProcess, waitForEnd } from '../ffi/pidfd.js';
import { favour } from '../ffi/scheduling.js';
import { scopeWords } from '../scope.js';
import type { ChapCredentials } from './chap.js';
import { type Log, silent } from './log.js';
import { QmpClient } from './qmp.js';

/**
 * The disk process: one qemu-storage-daemon for each attached volume, the data path in user space.
 * It has a session of its own, survives the agent, and can be killed at any moment: that is how a
 * data path is aborted, since the daemon itself reconnects and queues for ever when its target is
 * gone: libiscsi in it logs in again without limit.
 */
const program = 'qemu-storage-daemon';
const nodeName = 'lun';
const exportName = 'export';
const secretName = 'chap';

/** Names one process for ever: a number may be given out again, number and start time may not. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot (proc_pid_stat(5), field 22). */
  readonly startTicks: string;
}

export interface DataPath {
  readonly portal: string;
  readonly target: string;
  readonly lun: number;
  readonly initiator: string;
  readonly chap: ChapCredentials | undefined;
  readonly readOnly: boolean;
}

/** Undefined when there is no such process, or it has ended and waits to be reaped. */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  // The command in parentheses may hold anything, blanks and parentheses too.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  const [state, startTicks] = [fields[0], fields[19]];
  if (startTicks === undefined || state === 'Z' || state === 'X') return undefined;
  return { pid, startTicks };
}

export async function isAlive(process: ProcessIdentity): Promise<boolean> {
  return (await identifyProcess(process.pid))?.startTicks === process.startTicks;
}

/**
 * Sends a signal and waits for the end of the process.
 *
 * @returns true when it has ended (or had ended before)
 */
export async function endProcess(
  process: ProcessIdentity,
  signal: 'SIGTERM' | 'SIGKILL',
  timeoutMs: number,
): Promise<boolean> {
  const fd = openProcess(process.pid);
  if (fd === undefined) return true;
  try {
    // After the descriptor is held: the number cannot change hands any more.
    if (!(await isAlive(process))) return true;
    if (!signalProcess(fd, signal === 'SIGKILL' ? 9 : 15)) return true;
    return await waitForEnd(fd, timeoutMs);
  } finally {
    closeProcess(fd);
  }
}

/** A disk process that this agent started and talks to. */
export class DiskProcess {
  readonly identity: ProcessIdentity;
  readonly #qmp: QmpClient;
  readonly #child: ChildProcess;
  readonly #logFile: string;
  #secret: string | undefined;
  #readOnly = false;

  private constructor(
    identity: ProcessIdentity,
    qmp: QmpClient,
    child: ChildProcess,
    logFile: string,
  ) {
    this.identity = identity;
    this.#qmp = qmp;
    this.#child = child;
    this.#logFile = logFile;
  }

  /**
   * Starts one with no disk: it opens no connection and reads nothing. In `directory`: qmp.sock,
   * qsd.pid, qsd.log. It may be renamed afterwards.
   *
   * @throws {UnderstudyError} US_STORAGE_DISK_PROCESS
   */
  static async start(
    directory: string,
    timeoutMs: number,
    log: Log = silent,
  ): Promise<DiskProcess> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const logFile = `${directory}/qsd.log`;
    const child = launch(directory, logFile);
    const stream = child.stdio[3] as unknown as Duplex & { unref(): void };
    const qmp = new QmpClient(stream);
    child.once('error', (thrown) => qmp.fail(thrown));
    child.once('exit', (code, signal) => qmp.fail(new Error(`it ended: ${signal ?? code}`)));
    try {
      await qmp.start(timeoutMs);
      const identity = await identifyProcess(child.pid ?? 0);
      if (identity === undefined) throw new Error('it ended at once');
      protect(identity.pid, log);
      // The agent may end while the disk goes on.
      child.unref();
      stream.unref();
      return new DiskProcess(identity, qmp, child, logFile);
    } catch (thrown) {
      child.kill('SIGKILL');
      qmp.close();
      throw await diskProcessError('cannot start', program, thrown, logFile);
    }
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /**
   * Logs in to the target and asks for the LUN's size. Nothing of the LUN can be read or written
   * yet.
   *
   * No write is answered before the target answered it (cache.direct), and a flush is passed on as
   * SYNCHRONIZE CACHE (no-flush off). Discards are not used (see loop-device.ts).
   *
   * @throws {UnderstudyError} US_STORAGE_DISK_PROCESS
   */
  async open(path: DataPath, timeoutMs: number): Promise<void> {
    const object = `LUN ${path.lun} of ${path.target} at ${path.portal}`;
    this.#readOnly = path.readOnly;
    if (path.chap !== undefined) await this.#learn(path.chap, object, timeoutMs);
    const blockdev = {
      driver: 'iscsi',
      'node-name': nodeName,
      transport: 'tcp',
      portal: path.portal,
      target: path.target,
      lun: path.lun,
      'initiator-name': path.initiator,
      'read-only': path.readOnly,
      ...(path.chap === undefined ? {} : { user: path.chap.user, 'password-secret': secretName }),
      cache: { direct: true, 'no-flush': false },
      discard: 'ignore',
      'detect-zeroes': 'off',
    };
    await this.#execute('blockdev-add', blockdev, object, timeoutMs);
  }

  /**
   * Hands it the secret over the socket pair that only the two of us have: in no argument, no log, no
   * further file. (QEMU's `file:` would take a line's end for a part of the secret.) It proves itself
   * to the target; QEMU asks for no proof in return: mutual CHAP is asked for by the session that
   * looks at the LUN before.
   */
  async #learn({ secret }: ChapCredentials, object: string, timeoutMs: number): Promise<void> {
    // Another portal is tried with the same one.
    if (this.#secret === secret) return;
    const qom = { 'qom-type': 'secret', id: secretName, data: secret, format: 'raw' };
    await this.#execute('object-add', qom, object, timeoutMs);
    this.#secret = secret;
  }

  /**
   * Makes the LUN appear as a file at `mountPoint`. When this returns the file can be used, at the
   * path it returns: the daemon answers only when the export is mounted.
   *
   * @throws {UnderstudyError} US_STORAGE_DISK_PROCESS
   */
  async expose(mountPoint: string, timeoutMs: number): Promise<string> {
    const fuse = {
      type: 'fuse',
      id: exportName,
      'node-name': nodeName,
      mountpoint: mountPoint,
      writable: !this.#readOnly,
      growable: false,
      'allow-other': 'off',
    };
    await this.#execute('block-export-add', fuse, mountPoint, timeoutMs);
    // It is mounted in the daemon's own mount namespace (see below).
    return `/proc/${this.identity.pid}/root${mountPoint}`;
  }

  async #execute(command: string, args: object, object: string, timeoutMs: number): Promise<void> {
    try {
      await this.#qmp.execute(command, args, timeoutMs);
    } catch (thrown) {
      throw await diskProcessError('cannot open a data path to', object, thrown, this.#logFile);
    }
  }

  /** Stops talking to it. It goes on. */
  leave(): void {
    this.#qmp.close();
  }
}

/**
 * The disk process has a mount namespace of its own, with no more in it than it needs.
 *
 * Where it shared the agent's, a power cut (SIGKILL of everything) could end in a deadlock: if one of
 * its threads is the last to leave that namespace, it unmounts the volume in its exit, before it
 * closes /dev/fuse, and so waits for ever for an answer that only it could give (kernel/exit.c:
 * task_work runs newest first). Seen at the first try. Whatever it held mounted would also live as
 * long as it: file systems of other volumes, network namespaces of other personalities.
 *
 * $1 is the folder it must see. The export is reached through /proc/PID/root.
 */
const ownMounts = [
  ...['--mount', '--propagation', 'private', 'sh', '-c'],
  `keep=$1; shift
(
  set --
  while read -r _ _ _ _ at _; do
    case $at in / | /dev | /dev/fuse | /proc | /sys | /usr | /usr/* | /lib*) continue ;; esac
    case $keep/ in "$at"/*) continue ;; esac
    case $at in *\\*) at=$(printf %b "$at") ;; esac
    set -- "$@" "$at"
  done </proc/self/mountinfo
  [ $# -eq 0 ] || umount -l "$@"
) 2>/dev/null
exec "$@"`,
  'sh',
];

/**
 * Its own unit outlives agent and pulse. At shutdown it ends after the file systems are unmounted
 * (systemd/understudy-volumes.target) and before pulse lets the lease go: without it the target would
 * throw it out, and it would try to log in for ever. It is not swapped to a disk that it may serve.
 */
export const diskScope = {
  name: 'understudy-disk',
  description: 'Understudy disk: the data path of a volume',
  properties: [
    ...['Before=understudy-volumes.target', 'After=understudy-pulse.service network.target'],
    ...['TimeoutStopSec=10s', 'CPUWeight=1000', 'IOWeight=1000', 'MemorySwapMax=0'],
  ],
} as const;

function launch(directory: string, logFile: string): ChildProcess {
  const output = openSync(logFile, 'w', 0o600);
  try {
    // Two monitors: descriptor 3, a socket pair, greets when the daemon is ready, which saves
    // polling for the other, which stays for later agents.
    const args = [
      ...['--chardev', 'socket,id=starter,fd=3', '--monitor', 'chardev=starter'],
      ...['--chardev', 'socket,id=admin,path=qmp.sock,server=on,wait=off'],
      ...['--monitor', 'chardev=admin', '--pidfile', 'qsd.pid'],
    ];
    // A session of its own, so that no signal to the agent's reaches it; relative paths, since the
    // path of a socket has at most 107 bytes (unix(7)).
    const [first = 'unshare', ...rest] = [...scopeWords(diskScope), 'unshare', ...ownMounts];
    return asIoFlusher(() =>
      spawn(first, [...rest, directory, program, ...args], {
        cwd: directory,
        detached: true,
        stdio: ['ignore', output, output, 'pipe'],
      }),
    );
  } finally {
    closeSync(output);
  }
}

/**
 * Memory taken from it would be the last that the writes waiting for it need; and whatever uses the
 * disk waits for it, so it goes first as well.
 */
function protect(pid: number, log: Log): void {
  const steps = [
    // Else it keeps what the agent has for the moment, which may be in a hurry.
    () => favour(pid),
    () => writeFileSync(`/proc/${pid}/oom_score_adj`, '-1000'),
  ];
  for (const step of steps) {
    try {
      step();
    } catch (thrown) {
      log.debug({ pid }, `disk process is not favoured: ${messageOf(thrown)}`);
    }
  }
}

async function diskProcessError(
  action: string,
  object: string,
  thrown: unknown,
  logFile: string,
): Promise<UnderstudyError> {
  const said = (await readFile(logFile, 'utf8').catch(() => '')).trim().split('\n').slice(-3);
  const words = [messageOf(thrown), ...said.filter((line) => line !== '')].join('; ');
  return new UnderstudyError(
    {
      code: 'US_STORAGE_DISK_PROCESS',
      action,
      object,
      cause: `${program}: ${words}`,
      remedy: `see that qemu-utils (on Debian 12 qemu-system-common), qemu-block-extra and /dev/fuse are there; the log is ${logFile}`,
    },
    { cause: thrown },
  );
}
