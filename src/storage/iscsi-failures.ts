import { UnderstudyError } from '../errors.js';
import { IscsiError } from '../ffi/iscsi.js';

/** US_STORAGE_LUN_NOT_FOUND; `offered` when the target said which LUNs it has. */
export function lunNotFound(
  target: string,
  lun: number,
  portal: string,
  offered: readonly number[] | undefined,
): UnderstudyError {
  const has = offered === undefined ? '' : `; it offers ${offered.join(', ') || 'none'}`;
  return new UnderstudyError({
    code: 'US_STORAGE_LUN_NOT_FOUND',
    action: 'cannot find',
    object: `LUN ${lun} of ${target}`,
    cause: `the target at ${portal} has no disk under that number for this initiator${has}`,
    remedy: 'correct lun: of the volume, or map the LUN on the target',
  });
}

/** RFC 7143 11.13.5: classes 2 (initiator error) and 3 (target error). */
export function loginFailure(
  thrown: unknown,
  portals: readonly string[],
  target: string,
  initiator: string,
  loginMs: number,
): unknown {
  if (!(thrown instanceof IscsiError)) return thrown;
  const object = `${target} at ${portals.join(', ')}`;
  if (thrown.loginStatus === undefined) {
    return new UnderstudyError(
      {
        code: 'US_STORAGE_UNREACHABLE',
        action: 'cannot reach',
        object,
        cause: `${thrown.message} (each portal was given ${loginMs} ms)`,
        remedy: 'check the storage network and that the target daemon listens on this portal',
      },
      { cause: thrown },
    );
  }
  if (thrown.loginStatus === 0x0203 || thrown.loginStatus === 0x0202) {
    return new UnderstudyError(
      {
        code: 'US_STORAGE_TARGET_NOT_FOUND',
        action: 'cannot log in to',
        object,
        cause: `${thrown.message}: there is no target of that name, or its mask does not let in ${initiator}`,
        remedy: `check target: of the volume; if it is right, see what the target lets in (tgtadm --op show --mode target) and that understudy target runs beside it`,
      },
      { cause: thrown },
    );
  }
  return new UnderstudyError(
    {
      code: 'US_STORAGE_LOGIN',
      action: 'cannot log in to',
      object,
      cause: thrown.message,
      remedy: `check what the target asks of ${initiator} (authentication, digests, session limits)`,
    },
    { cause: thrown },
  );
}
