import { execFile } from 'node:child_process';
import { UnderstudyError } from '../errors.js';
import { systemdBooted } from '../scope.js';

/** The part of systemctl(1) that is used; a test hands in its own. */
export interface Systemctl {
  /** Whether systemd is this machine's init (sd_booted(3)). */
  booted(): boolean;
  /** Runs `systemctl ARGUMENTS…`; resolves with what it printed. */
  run(args: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<string>;
}

export const systemctl: Systemctl = {
  booted: systemdBooted,
  run: (args, timeoutMs, signal) =>
    new Promise((resolve, reject) => {
      const options = {
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: 256 * 1024,
        ...(signal === undefined ? {} : { signal }),
      } as const;
      execFile('systemctl', ['--no-ask-password', ...args], options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else if (signal?.aborted) reject(signal.reason);
        else reject(failure(args, stderr.trim() || error.message));
      });
    }),
};

function failure(args: readonly string[], cause: string): UnderstudyError {
  const unit = args.at(-1) ?? '';
  return new UnderstudyError({
    code: 'US_WORKLOAD_UNIT',
    action: `cannot ${args[0] ?? 'handle'} unit`,
    object: unit,
    cause,
    remedy: `see journalctl -u ${unit}`,
  });
}

/** @throws US_WORKLOAD_NO_SYSTEMD where units cannot be used at all. */
export function requireSystemd(control: Systemctl, personality: string): void {
  if (control.booted()) return;
  throw new UnderstudyError({
    code: 'US_WORKLOAD_NO_SYSTEMD',
    action: 'cannot run the unit of',
    object: personality,
    cause: 'systemd is not the init of this machine (no /run/systemd/system)',
    remedy: 'use workload.command instead of workload.unit, or hosts that run systemd',
  });
}
