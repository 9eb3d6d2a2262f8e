import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Test } from 'tap';
import { kernelSessions } from '../../src/storage/kernel-sessions.js';
import { KernelStorage } from '../../src/storage/kernel-storage.js';
import { openStorage } from '../storage/attached.js';
import { until } from '../storage/lun-server.js';
import type { RefusalWorld } from '../storage/refusal-cases.js';
import type { FreshLun, StorageWorld } from '../storage/storage-cases.js';
import { addLun, askForChap, lioPortal, lioTarget } from './lio.js';

let luns = 0;

/** A blank LUN, one more of the one target: so there are always some that nobody asked for. */
export function freshLun(
  sizeMiB = 64,
  options: { thin?: boolean; serial?: string; folder?: string } = {},
): FreshLun {
  luns += 1;
  const file = `${options.folder ?? '/run/lio'}/lun-${luns}`;
  execFileSync('truncate', ['-s', `${sizeMiB}M`, file]);
  addLun(luns, file, sizeMiB, options);
  return { target: lioTarget, targetLun: luns, file };
}

/** Sessions of the product's. */
export const ourSessions = async () =>
  (await kernelSessions()).filter((session) => session.interface.startsWith('us-'));

/** The kernel's initiator on LIO, both of the guest that this is run in. */
export const kernelWorld: RefusalWorld & StorageWorld = {
  portal: lioPortal,
  directory: '/run/hosts',
  missingLun: 200,
  open: (t: Test, runDirectory: string) =>
    openStorage(t, runDirectory, (options) => new KernelStorage(options)),
  lun: freshLun,
  askForChap: (_lun, asked) => askForChap(asked?.ours, asked?.theirs),
  fullLun: (folder) => freshLun(64, { folder }),
  twinOf: ({ targetLun }) => freshLun(64, { serial: `lio-serial-lun-${targetLun}` }),
  gone: async (_run, { device }) => {
    await until(async () => (await ourSessions()).length === 0);
    await until(() => !existsSync(`/sys/block/${device.slice('/dev/'.length)}`));
  },
};
