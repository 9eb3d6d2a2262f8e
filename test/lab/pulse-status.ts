import type { Lab } from '../../src/lab/lab.js';
import { askPulse, type PulseStatus } from '../../src/pulse/ask.js';

/** What a host's pulse says of itself. */
export function pulseStatus(lab: Lab, host: string): Promise<PulseStatus> {
  return askPulse(`/proc/${lab.pidOf(host)}/root/run/understudy/pulse.sock`);
}
