import { truncateSync } from 'node:fs';
import type { Test } from 'tap';
import { lazyTables } from '../storage/lazy-tables.js';
import type { FreshLun } from '../storage/storage-cases.js';
import { verifyDevice, verifyFiles } from '../storage/write-verify.js';
import { freshLun, kernelWorld } from './kernel-world.js';
import { cutWhileWriting } from './storage-cut.js';
import { StorageNetwork } from './storage-network.js';

/** LUNs that are blank again when they are asked for again: what is behind them is in memory. */
function reusing(thin: boolean): typeof kernelWorld {
  const made = new Map<number, FreshLun>();
  const lun = (sizeMiB = 64): FreshLun => {
    const found = made.get(sizeMiB) ?? freshLun(sizeMiB, { thin });
    for (const size of [0, sizeMiB * 1024 * 1024]) truncateSync(found.file, size);
    made.set(sizeMiB, found);
    return found;
  };
  return { ...kernelWorld, lun };
}
const [thick, thin] = [reusing(false), reusing(true)];

export interface DataOptions {
  /** How long the storage network is cut. */
  readonly cutSeconds: number;
  /** How often all is written and read back; with more than one XFS too, a LUN without discards, and lazy inode tables. */
  readonly rounds: number;
  /** What each job writes. */
  readonly eachMiB: number;
}

/** What the kernel backend writes is there, also after the storage network was away. In a guest with LIO. */
export async function kernelData(
  t: Test,
  { cutSeconds, rounds, eachMiB }: DataOptions,
): Promise<void> {
  for (let round = 1; round <= rounds; round += 1) {
    await t.test(`written and read back, round ${round}`, async (t) => {
      await verifyDevice(t, thin, round, eachMiB);
      await verifyFiles(t, thin, round, 'ext4', eachMiB);
      if (rounds === 1) return;
      await verifyDevice(t, thick, round + 1_000, eachMiB);
      await verifyFiles(t, thin, round, 'xfs', eachMiB);
    });
  }
  if (rounds > 1) await t.test('no old byte in an inode table', (t) => lazyTables(t, thin));
  const network = StorageNetwork.make();
  await t.test(`the storage network is cut for ${cutSeconds} s`, (t) =>
    cutWhileWriting(t, network, cutSeconds),
  );
}
