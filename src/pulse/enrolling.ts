import { UnderstudyError } from '../errors.js';
import { type EnrolRequest, toMs } from './holding.js';
import { noLimitNs } from './lease-map.js';

/** What this pulse knows of the enrolment before, retired or not. */
export interface EarlierEnrolment {
  readonly request: EnrolRequest;
  readonly retired: boolean;
  /** What its guard map says; null for never held. */
  readonly deadlineNs: bigint | null;
}

/**
 * Whether a host may be enrolled like this. The deadline in the kernel belongs to one incarnation:
 * a new one over the map of an old one would make the old one's devices pass frames again, after
 * the controllers voted (rule 3 of the lease protocol).
 *
 * @throws {UnderstudyError} US_PULSE_OLD_INCARNATION, US_PULSE_MAP_SHARED, US_PULSE_LEASE_RUNNING
 */
export function mayEnrol(
  request: EnrolRequest,
  earlier: EarlierEnrolment | undefined,
  nowNs: bigint,
): void {
  if (earlier === undefined || earlier.request.incarnation === request.incarnation) return;
  const before = earlier.request;
  const refuse = (code: `US_${string}`, cause: string, remedy: string) =>
    new UnderstudyError({
      code,
      action: 'cannot enrol',
      object: `${request.host} as incarnation ${request.incarnation}`,
      cause,
      remedy,
    });
  if (request.incarnation < before.incarnation) {
    throw refuse(
      'US_PULSE_OLD_INCARNATION',
      `it was incarnation ${before.incarnation} already`,
      'enrol with a number that was never used before',
    );
  }
  if (request.guardMapPath === before.guardMapPath) {
    throw refuse(
      'US_PULSE_MAP_SHARED',
      `${request.guardMapPath} is the guard map of incarnation ${before.incarnation}`,
      'make a guard map for each incarnation',
    );
  }
  const { deadlineNs } = earlier;
  if (before.enforce && deadlineNs !== null && nowNs < deadlineNs) {
    throw refuse(
      'US_PULSE_LEASE_RUNNING',
      `the lease of incarnation ${before.incarnation} runs for another ${toMs(deadlineNs - nowNs).toFixed(0)} ms`,
      'retire it and try again after that',
    );
  }
  if (!before.enforce && !earlier.retired) {
    throw refuse(
      'US_PULSE_LEASE_RUNNING',
      `incarnation ${before.incarnation} is not retired, and its guard map has no limit`,
      'remove its devices, retire it, then enrol',
    );
  }
}

/**
 * A map that says "no limit" can never enforce anything: it is only ever raised.
 *
 * @throws {UnderstudyError} US_PULSE_MAP_UNLIMITED
 */
export function mapMustLimit(request: EnrolRequest, inMapNs: bigint): void {
  if (!request.enforce || inMapNs !== noLimitNs) return;
  throw new UnderstudyError({
    code: 'US_PULSE_MAP_UNLIMITED',
    action: 'cannot enforce the lease of',
    object: `${request.host} as incarnation ${request.incarnation}`,
    cause: `${request.guardMapPath} says "no limit" since leases were not enforced before`,
    remedy: 'give the host a new incarnation (with its own guard map)',
  });
}
