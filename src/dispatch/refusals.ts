import { UnderstudyError } from '../errors.js';

/** A service that cannot be dispatched as it is described. */
export function refused(service: string, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_DISPATCH_SPEC',
    action: 'cannot dispatch service',
    object: service,
    cause,
    remedy,
  });
}

export function notDispatched(service: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_DISPATCH_NOT_HERE',
    action: 'cannot count the packets of service',
    object: service,
    cause: 'this host does not dispatch it',
    remedy: 'understudy status shows which host does',
  });
}
