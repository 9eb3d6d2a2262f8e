import { messageOf } from './errors.js';
import { notifyService } from './ffi/notify.js';

export interface ServeOptions {
  /** Default: what systemd gave this process. */
  readonly environment?: NodeJS.ProcessEnv;
  /** Told when systemd cannot be told; the daemon goes on. */
  readonly refused: (text: string) => void;
}

/** How many signs of life fall into the time that systemd waits for one. */
const signsInTime = 4;

/**
 * The life of a daemon between its start and its stop, as systemd sees it: ready, alive as long as
 * this process's event loop goes round, stopping once `signal` aborts. Resolves then.
 */
export async function serve(signal: AbortSignal, options: ServeOptions): Promise<void> {
  const environment = options.environment ?? takeEnvironment();
  const tell = (state: string) => {
    try {
      notifyService(state, environment.NOTIFY_SOCKET);
    } catch (thrown) {
      options.refused(`systemd could not be told ${state}: ${messageOf(thrown)}`);
    }
  };
  tell('READY=1');
  const watchdogMs = watchdogOf(environment);
  const signs =
    watchdogMs === undefined
      ? undefined
      : setInterval(() => tell('WATCHDOG=1'), watchdogMs / signsInTime);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  clearInterval(signs);
  tell('STOPPING=1');
}

/** systemd's words to this process alone: its children must not answer for it (sd_notify(3)). */
function takeEnvironment(): NodeJS.ProcessEnv {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID } = process.env;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete process.env[name];
  return { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID };
}

/** Time after which systemd takes this very process for hung (sd_watchdog_enabled(3)). */
export function watchdogOf({
  WATCHDOG_USEC: micros,
  WATCHDOG_PID: pid,
}: NodeJS.ProcessEnv): number | undefined {
  if (pid !== undefined && pid !== String(process.pid)) return undefined;
  const watchdogMs = Number(micros) / 1_000;
  return watchdogMs > 0 ? watchdogMs : undefined;
}
