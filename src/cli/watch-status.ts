import type { Status } from '../control/status.js';
import type { View } from '../control/view.js';
import { onAbort, pause, type Timers } from '../store/timers.js';

/** The part of a `ClusterWatch` that this needs. */
export interface ViewSource {
  readonly known: boolean;
  readonly view: View;
  onChange(listener: () => void): void;
}

/** Who leads, and whether a majority answers, may change with no news in the store. */
const lookEveryMs = 1_000;

export interface StatusWatch {
  readonly source: ViewSource;
  readonly timers: Timers;
  /** Undefined for nobody. Rejects while the store has no majority. */
  leader(): Promise<string | undefined>;
  /** Undefined before a definition is applied. */
  statusOf(view: View, leader: string | undefined): Status | undefined;
  show(status: Status): void;
}

/**
 * Shows the status now and after each change, one look at a time, until the signal aborts. While the
 * store gives no answer the last that was known is shown, with `quorum` false.
 */
export async function watchStatus(parts: StatusWatch, signal: AbortSignal): Promise<void> {
  const { source, timers } = parts;
  let news = new AbortController();
  source.onChange(() => news.abort());
  const stop = onAbort([signal], () => news.abort());
  let shown = '';
  try {
    while (!signal.aborted) {
      news = new AbortController();
      const status = await look(parts);
      const text = JSON.stringify(status);
      if (status !== undefined && text !== shown && !signal.aborted) parts.show(status);
      shown = text;
      await pause(timers, lookEveryMs, news.signal, signal);
    }
  } finally {
    stop();
  }
}

async function look({ source, leader, statusOf }: StatusWatch): Promise<Status | undefined> {
  if (!source.known) return undefined;
  try {
    return statusOf(source.view, await leader());
  } catch {
    const status = statusOf(source.view, undefined);
    return status === undefined ? undefined : { ...status, quorum: false };
  }
}
