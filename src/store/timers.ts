/** Time, handed in, so that tests and the simulator can hold it. */
export interface Timers {
  /** A clock that never goes back, in ms; its zero means nothing. */
  nowMs(): number;
  /** Calls `action` once, `delayMs` from now. Returns what calls it off. */
  after(delayMs: number, action: () => void): () => void;
}

/** The machine's timers with the given clock. */
export function systemTimers(clock: () => number = () => performance.now()): Timers {
  return {
    nowMs: clock,
    after: (delayMs, action) => {
      const timer = setTimeout(action, Math.max(0, delayMs));
      return () => clearTimeout(timer);
    },
  };
}

/** Resolves after `delayMs`, or at once when `signal` aborts; never rejects. */
export function pause(timers: Timers, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const end = () => {
      cancel();
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const cancel = timers.after(delayMs, end);
    signal?.addEventListener('abort', end);
  });
}
