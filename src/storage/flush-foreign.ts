import { messageOf } from '../errors.js';
import { flushVolume } from './filesystem.js';
import type { Holder } from './holders.js';
import type { Log } from './log.js';

/**
 * Who has the file system in a mount namespace of their own is cut off when this volume is next looked
 * at. They may have written since it was flushed: any one of their mounts leads to all of it.
 */
export async function flushForeign(
  kind: 'file system' | 'device',
  [holder]: readonly Holder[],
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  if (holder === undefined || kind === 'device') return;
  try {
    await flushVolume(holder.place, 'file system', signal);
  } catch (thrown) {
    signal.throwIfAborted();
    log.warn({ holder: holder.name }, `not all is written back: ${messageOf(thrown)}`);
  }
}
