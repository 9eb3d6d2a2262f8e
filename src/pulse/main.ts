import { pino } from 'pino';
import { messageOf, UnderstudyError } from '../errors.js';
import { bootOffsetNs } from '../ffi/clock.js';
import { lockProgramInMemory, scheduleRealTime } from '../ffi/scheduling.js';
import { serve } from '../serve.js';
import { readPulseConfig } from './config.js';
import { ClusterKeys } from './keys.js';
import type { OpenLeaseMap } from './lease-map.js';
import { thisMachine } from './machine.js';
import { Pulse } from './pulse.js';

export interface RunPulse {
  readonly configFile: string;
  readonly signal: AbortSignal;
  /** Tests give their own; default: the pinned BPF maps of the tc guard. */
  readonly loadLeaseMaps?: () => Promise<OpenLeaseMap>;
}

/**
 * The pulse process: serves until `signal` aborts.
 *
 * @throws {UnderstudyError} US_PULSE_CONFIG, US_PULSE_KEY, US_PULSE_KEY_MODE, US_PULSE_BIND,
 * US_PULSE_RUNNING, US_PULSE_SOCKET, US_PULSE_CLOCK
 */
export async function runPulse({ configFile, signal, loadLeaseMaps }: RunPulse): Promise<void> {
  const config = readPulseConfig(configFile);
  refuseOtherClock();
  const keys = ClusterKeys.of(config.keyFile);
  // Written by a helper thread and dropped when nobody reads: a stuck journal must not stop leases.
  const stderr = pino.destination({ dest: 2, sync: false, maxLength: 1024 * 1024 });
  stderr.on('error', () => {});
  const log = pino({ name: 'pulse' }, stderr);
  if (config.realtime) {
    attempt('real-time scheduling', scheduleRealTime);
    attempt('locking the program in memory', lockProgramInMemory);
  }
  const pulse = new Pulse({
    machine: thisMachine(config, keys),
    loadLeaseMaps:
      loadLeaseMaps ?? (async () => (await import('../fencing/lease-map.js')).openLeaseMap),
    log: (fields, text) => log.info(fields, text),
  });
  if (signal.aborted) return;
  await pulse.start();
  log.info({ bind: config.bind, port: config.port }, 'pulse started');
  await serve(signal, { refused: (text) => log.warn(text) });
  await pulse.stop();
  log.info('pulse stopped');

  function attempt(what: string, action: () => unknown): void {
    try {
      action();
    } catch (thrown) {
      log.warn(`${what} was refused (${messageOf(thrown)}); going on without`);
    }
  }
}

/** The kernel compares the deadline with its own clock: one that is ahead of it would lengthen leases. */
function refuseOtherClock(): void {
  const offsetNs = bootOffsetNs();
  if (offsetNs === 0n) return;
  throw new UnderstudyError({
    code: 'US_PULSE_CLOCK',
    action: 'cannot count leases in',
    object: 'this time namespace',
    cause: `its boot clock is ${Number(offsetNs) / 1e9} s apart from the kernel's, which ends the lease`,
    remedy: 'run pulse outside of it (unshare --time and some containers make one)',
  });
}
