import { setMaxListeners } from 'node:events';
import { systemTimers, type Timers } from './store/timers.js';

/**
 * A signal that aborts after `timeoutMs`, or with its parent.
 *
 * Not `AbortSignal.any([parent, AbortSignal.timeout(ms)])`: on Node 20 nothing keeps the inner
 * time-out alive, and once it is collected as garbage the deadline never comes
 * (test/deadline.test.ts).
 */
export function within(
  timeoutMs: number,
  parent?: AbortSignal,
  timers: Timers = systemTimers(),
): AbortSignal {
  const controller = new AbortController();
  const end = (reason: unknown) => {
    cancel();
    parent?.removeEventListener('abort', follow);
    controller.abort(reason);
  };
  const follow = () => end(parent?.reason);
  const late = () => end(new Error(`it took longer than ${timeoutMs} ms`));
  const cancel = timers.after(timeoutMs, late, { background: true });
  if (parent?.aborted) follow();
  else if (parent !== undefined) {
    // One listener for each deadline under way, gone with it: many are no leak.
    setMaxListeners(0, parent);
    parent.addEventListener('abort', follow, { once: true });
  }
  return controller.signal;
}
