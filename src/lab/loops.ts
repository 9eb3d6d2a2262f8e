import { closeSync, existsSync, openSync, readdirSync } from 'node:fs';
import { removeLoop } from '../ffi/loop.js';

/** The numbers that the `user` storage backend takes (src/storage/loop-device.ts). */
const firstIndex = 1700;
const lastIndex = 1955;

/**
 * Removes loop devices that hosts without power left: unbound by the kernel when their last user
 * died, but still there. One that is bound is somebody's; one that is just being bound is refused by
 * the kernel, or its maker takes the next number.
 */
export async function removeUnboundLoops(): Promise<void> {
  const indexes = readdirSync('/sys/block').flatMap((name) => {
    const index = Number(/^loop(\d+)$/.exec(name)?.[1] ?? Number.NaN);
    const unbound = !existsSync(`/sys/block/${name}/loop/backing_file`);
    return index >= firstIndex && index <= lastIndex && unbound ? [index] : [];
  });
  if (indexes.length === 0) return;
  const control = openSync('/dev/loop-control', 'r+');
  try {
    for (const index of indexes) {
      // EBUSY: in use again; ENODEV: somebody else removed it.
      await removeLoop(control, index).catch(() => undefined);
    }
  } finally {
    closeSync(control);
  }
}
