import { type Status, statusOf } from '../control/status.js';
import { configOf, type View } from '../control/view.js';
import { slotsByMember } from '../dispatch/table.js';
import { dispatchSpec } from './specs.js';

/** `status`, with the slots that each member holds; undefined before a cluster file was applied. */
export function statusOfView(view: View, leader: string | undefined): Status | undefined {
  const config = configOf(view);
  if (config === undefined) return undefined;
  return statusOf(view, config, leader, (name) => {
    const service = config.services.find((found) => found.name === name);
    if (service === undefined) return new Map();
    return slotsByMember(dispatchSpec(view, service, 0));
  });
}
