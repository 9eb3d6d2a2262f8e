/** Time, handed in, so that tests and the simulator can hold it. */
export interface Timers {
  /** A clock that never goes back, in ms; its zero means nothing. */
  nowMs(): number;
  /**
   * Calls `action` once, `delayMs` from now. Returns what calls it off. One in the background keeps
   * no process alive.
   */
  after(
    delayMs: number,
    action: () => void,
    options?: { readonly background: boolean },
  ): () => void;
}

/** The machine's timers with the given clock. */
export function systemTimers(clock: () => number = () => performance.now()): Timers {
  return {
    nowMs: clock,
    after: (delayMs, action, { background } = { background: false }) => {
      const timer = setTimeout(action, Math.max(0, delayMs));
      if (background) timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/** Calls `action` every `everyMs` from then on. Returns what calls it off. */
export function repeat(timers: Timers, everyMs: number, action: () => void): () => void {
  const again = () => {
    cancel = timers.after(everyMs, again);
    action();
  };
  let cancel = timers.after(everyMs, again);
  return () => cancel();
}

/** Resolves after `delayMs`, or at once when a signal aborts; never rejects. */
export function pause(
  timers: Timers,
  delayMs: number,
  ...signals: readonly AbortSignal[]
): Promise<void> {
  return new Promise((resolve) => {
    if (signals.some(({ aborted }) => aborted)) return resolve();
    const end = () => {
      cancel();
      stopListening();
      resolve();
    };
    const cancel = timers.after(delayMs, end);
    const stopListening = onAbort(signals, end);
  });
}

/**
 * Calls `action` once when any of the signals aborts. Returns what calls it off.
 *
 * Not AbortSignal.any, where one of the signals lives as long as the process: on Node 20 it keeps
 * something of each combination for ever (nodejs/node issue 54614).
 */
export function onAbort(
  signals: readonly AbortSignal[],
  action: (signal: AbortSignal) => void,
): () => void {
  const stop = () => {
    for (const signal of signals) signal.removeEventListener('abort', aborted);
  };
  const aborted = (event: Event) => {
    stop();
    action(event.target as AbortSignal);
  };
  for (const signal of signals) signal.addEventListener('abort', aborted);
  return stop;
}
