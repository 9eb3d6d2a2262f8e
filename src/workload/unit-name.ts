import { UnderstudyError } from '../errors.js';
import type { WorkloadSpec } from './types.js';

/**
 * The unit's name, checked: it becomes a path and an argument.
 *
 * @throws US_WORKLOAD_SPEC
 */
export function unitOf({ personality, workload }: WorkloadSpec): string {
  if (
    workload.kind === 'unit' &&
    /^[A-Za-z0-9_][A-Za-z0-9:_.@\\-]*\.service$/.test(workload.unit)
  ) {
    return workload.unit;
  }
  throw new UnderstudyError({
    code: 'US_WORKLOAD_SPEC',
    action: 'cannot run the workload of',
    object: personality,
    cause: `${JSON.stringify(workload)} names no service unit`,
    remedy: 'write workload: {unit: NAME.service}',
  });
}
