import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { hasModule } from './kernel-modules.js';
import { KernelStorage } from './kernel-storage.js';
import type { Log } from './log.js';
import { backendsInUse, Layout } from './state.js';
import type { StorageAdapter } from './types.js';
import { UserStorage } from './user-storage.js';

/** Which of the two carries volumes here: the kernel's own initiator, or a process in user space. */
export type BackendName = 'user' | 'kernel';

export interface BackendOptions {
  readonly runDirectory: string;
  readonly log: Log;
  /** Of backend user. */
  readonly idleProcesses?: number;
}

/** @param wanted auto: what carries volumes here already, else `kernel` where it can, else `user` */
export async function openBackend(
  wanted: BackendName | 'auto',
  options: BackendOptions,
): Promise<StorageAdapter> {
  const name = wanted === 'auto' ? await fittingBackend(options.runDirectory) : wanted;
  return name === 'kernel' ? new KernelStorage(options) : new UserStorage(options);
}

async function fittingBackend(runDirectory: string): Promise<BackendName> {
  const [inUse] = await backendsInUse(new Layout(runDirectory));
  return inUse ?? (initiatorMissing() === undefined ? 'kernel' : 'user');
}

/** What the kernel's own initiator lacks here; undefined for nothing. Loads no module. */
export function initiatorMissing(): string | undefined {
  if (!isInPath('iscsiadm')) return 'open-iscsi is not installed (no iscsiadm)';
  if (!hasModule('iscsi_tcp')) return `kernel ${release()} has no iscsi_tcp`;
  // systemd starts it for whoever asks (iscsid.socket).
  const starts = existsSync('/run/systemd/system') || iscsidListens();
  return starts ? undefined : 'iscsid does not run here, and no systemd would start it';
}

/**
 * Its socket is abstract, so of this network namespace; and the kernel talks to iscsid in the machine's own
 * alone (scsi_transport_iscsi.c).
 */
function iscsidListens(): boolean {
  return readFileSync('/proc/net/unix', 'utf8').includes('@ISCSIADM_ABSTRACT_NAMESPACE');
}

function isInPath(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(`${folder}/${program}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
