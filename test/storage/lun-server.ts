import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { enterNetworkNamespace } from '../../src/ffi/namespace.js';
import type { AttachSpec } from '../../src/storage/types.js';

/** A real tgtd on 127.0.0.1:3260, in a network namespace of this test process's own where it enters one. */
export interface LunServer {
  readonly portal: string;
  /** Where the LUN files and whatever the test makes are; on /dev/shm. */
  readonly directory: string;
  readonly ipcSocket: string;
  readonly controlPort: number;
  readonly pid: number;
  tgtadm(...args: string[]): string;
  /** A target with one LUN (number 1) on a file, which it returns. */
  addTarget(spec: {
    tid: number;
    name: string;
    sizeBytes?: number;
    serial?: string;
    /** Takes discards (UNMAP), which tgt makes holes of. */
    thin?: boolean;
    /** Initiators let in; default ALL addresses. */
    initiators?: readonly string[];
  }): string;
}

/** What ends with the test; a benchmark has one of its own. */
export type Ending = Pick<Test, 'teardown'>;

let entered = false;

/** Moves this process into a namespace of its own, once. Needs root. */
export function enterOwnNamespace(t: Ending): void {
  if (entered) return;
  entered = true;
  const name = `ustest-${process.pid}-storage`;
  execFileSync('ip', ['netns', 'add', name]);
  execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  enterNetworkNamespace(`/run/netns/${name}`);
  t.teardown(() => execFileSync('ip', ['netns', 'delete', name]));
}

/** @param port of the portal: one a server, where a test file starts several */
export async function startLunServer(
  t: Ending,
  port = 3260,
  address = '127.0.0.1',
): Promise<LunServer> {
  enterOwnNamespace(t);
  return startTgtd(t, port, address);
}

/** The same in the namespace that this process is in. */
export async function startTgtd(t: Ending, port = 3260, address = '127.0.0.1'): Promise<LunServer> {
  const directory = mkdtempSync('/dev/shm/ustest-storage-');
  const ipcSocket = join(directory, 'tgt');
  const portal = `${address}:${port}`;
  // The socket is in a folder of its own, so any number will do; tgtd takes none above 32,767.
  const controlPort = port;
  const child = spawn('tgtd', ['-f', '-C', String(controlPort), '--iscsi', `portal=${portal}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TGT_IPC_SOCKET: ipcSocket },
  });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-2_000);
  });
  t.teardown(async () => {
    await end(child);
    rmSync(directory, { recursive: true, force: true });
  });
  const tgtadm = (...args: string[]) =>
    execFileSync('tgtadm', ['-C', String(controlPort), '--lld', 'iscsi', ...args], {
      env: { ...process.env, TGT_IPC_SOCKET: ipcSocket },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  await untilListening(address.replace(/[[\]]/g, ''), port, () => {
    if (child.exitCode !== null) throw new Error(`tgtd ended with ${child.exitCode}: ${said}`);
  });
  // It listens for initiators before it listens for tgtadm.
  await until(() => {
    try {
      tgtadm('--op', 'show', '--mode', 'target');
      return true;
    } catch {
      return false;
    }
  });
  return {
    portal,
    directory,
    ipcSocket,
    controlPort,
    pid: child.pid ?? 0,
    tgtadm,
    addTarget({ tid, name, sizeBytes = 64 * 1024 * 1024, serial, thin = false, initiators }) {
      const file = join(directory, `lun-${tid}.img`);
      writeFileSync(file, '');
      truncateSync(file, sizeBytes);
      const target = ['--mode', 'target', '--tid', String(tid)];
      const unit = ['--mode', 'logicalunit', '--tid', String(tid), '--lun', '1'];
      tgtadm('--op', 'new', ...target, '-T', name);
      tgtadm('--op', 'new', ...unit, '-b', file);
      const number = serial ?? `serial-${tid}`;
      tgtadm('--op', 'update', ...unit, '--params', `scsi_sn=${number}`);
      if (thin) tgtadm('--op', 'update', ...unit, '--params', 'thin_provisioning=1');
      if (initiators === undefined) tgtadm('--op', 'bind', ...target, '-I', 'ALL');
      for (const initiator of initiators ?? []) {
        tgtadm('--op', 'bind', ...target, '--initiator-name', initiator);
      }
      return file;
    },
  };
}

/** Ends a child by SIGKILL: tgtd ignores SIGTERM. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** Looks again until it is so; a test that waits for what no event tells. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  limitMs = 10_000,
): Promise<void> {
  for (const started = Date.now(); !(await condition()); await pause(10)) {
    if (Date.now() - started > limitMs) throw new Error(`not so in ${limitMs} ms: ${condition}`);
  }
}

function untilListening(host: string, port: number, look: () => void): Promise<void> {
  return until(() => {
    look();
    return new Promise((resolve) => {
      const socket = connect({ host, port });
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('close', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  });
}

export function attachSpec(
  server: Pick<LunServer, 'portal'>,
  change: Partial<AttachSpec> = {},
): AttachSpec {
  return {
    cluster: 'test',
    personality: 'web1',
    host: 'h1',
    epoch: 1,
    lun: 0,
    volume: 'web1-data',
    portals: [server.portal],
    target: 'iqn.2026-11.test:web1',
    targetLun: 1,
    filesystem: 'ext4',
    format: 'if-blank',
    recordedSerial: undefined,
    ...change,
  };
}

/** The file below `folder` that a loop device is bound to; others may have the device by now. */
export function backingFileBelow(folder: string, device: string): string | undefined {
  try {
    const path = `/sys/block/${device.slice('/dev/'.length)}/loop/backing_file`;
    const file = readFileSync(path, 'utf8').trimEnd();
    // "/" is what is left of the path of a file whose file system is no longer mounted.
    return file === '/' || file.startsWith(folder) ? file : undefined;
  } catch {
    return undefined;
  }
}
