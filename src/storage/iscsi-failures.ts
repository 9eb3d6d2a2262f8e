import { UnderstudyError } from '../errors.js';
import { IscsiError, noReason } from '../ffi/iscsi.js';
import type { ChapCredentials } from './chap.js';

const authenticationFailed = 0x0201;
/** Of mutual CHAP, on LIO. */
const shortestSafeName = 11;
/** "Too many connections" and "out of resources". */
const outOfResources: readonly (number | undefined)[] = [0x0206, 0x0302];

/** LIO for a name that it does not have (iscsi_target_nego.c, iscsi_target_locate_portal). */
const serviceUnavailable = 0x0301;

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

/** The target is there and has no room: for another session, or for what shall be written. */
export function targetFull(target: string, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_TARGET_FULL',
    action: 'cannot use',
    object: target,
    cause,
    remedy:
      'make room on the target: space behind its LUNs, or sessions and connections it may have',
  });
}

/** RFC 7143 11.13.5: classes 2 (initiator error) and 3 (target error). */
export function loginFailure(
  thrown: unknown,
  portals: readonly string[],
  target: string,
  initiator: string,
  loginMs: number,
  chap?: Pick<ChapCredentials, 'user' | 'mutual'>,
): unknown {
  if (!(thrown instanceof IscsiError)) return thrown;
  const object = `${target} at ${portals.join(', ')}`;
  const { loginStatus: status } = thrown;
  if (status === authenticationFailed || (status === undefined && isAboutChap(thrown))) {
    return chapFailure(thrown, object, chap);
  }
  if (status !== undefined && outOfResources.includes(status)) {
    return targetFull(object, thrown.message);
  }
  if (thrown.loginStatus === undefined && isUnreadable(thrown) && chap?.mutual !== undefined) {
    return unreadableProof(thrown, object, chap.mutual.user);
  }
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
  if (thrown.loginStatus === serviceUnavailable) {
    const cause = `${thrown.message}: there is no target of that name, or it is not enabled (LIO tells no difference)`;
    const remedy = 'check target: of the volume; if it is right, enable it (tpgt_1/enable on LIO)';
    return targetNotFound(thrown, object, cause, remedy);
  }
  if (thrown.loginStatus === 0x0203 || thrown.loginStatus === 0x0202) {
    return targetNotFound(
      thrown,
      object,
      `${thrown.message}: there is no target of that name, or its mask does not let in ${initiator}`,
      'check target: of the volume; if it is right, see what the target lets in (tgtadm --op show --mode target) and that understudy target runs beside it',
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

function targetNotFound(
  thrown: IscsiError,
  object: string,
  cause: string,
  remedy: string,
): UnderstudyError {
  const action = 'cannot log in to';
  const code = 'US_STORAGE_TARGET_NOT_FOUND';
  return new UnderstudyError({ code, action, object, cause, remedy }, { cause: thrown });
}

/** libiscsi ends a login itself when the target's own proof is missing or wrong. */
function isAboutChap({ message }: IscsiError): boolean {
  return /CHAP|authentic/i.test(message);
}

/** How libiscsi 1.19 ends over an answer that it cannot read: it reports nothing, and closes. */
function isUnreadable({ message }: IscsiError): boolean {
  return message.includes(noReason) || message.includes('NUL not found');
}

/**
 * LIO pads its answer to a multiple of four bytes with what its buffer held before, the end of its own challenge
 * (iscsi_target_login_tx in Linux 6.1 does not clear it), and libiscsi takes padding for text. From a name of eleven
 * characters on the answer is the longer of the two, and what follows it is zero.
 */
function unreadableProof(thrown: IscsiError, object: string, user: string): UnderstudyError {
  return new UnderstudyError(
    {
      code: 'US_STORAGE_CHAP',
      action: 'cannot log in to',
      object,
      cause: `libiscsi could not read the answer in which the target proves itself as ${user} (mutual CHAP)`,
      remedy:
        user.length < shortestSafeName
          ? `give the target a name of ${shortestSafeName} characters or more, there and in mutual: of the volume: LIO's answer with a shorter one has remnants in it`
          : 'see what the target logs of this login, and that it is not just being restarted',
    },
    { cause: thrown },
  );
}

function chapFailure(
  thrown: IscsiError,
  object: string,
  chap: Pick<ChapCredentials, 'user' | 'mutual'> | undefined,
): UnderstudyError {
  const refused = thrown.loginStatus === authenticationFailed;
  const why =
    chap === undefined
      ? 'the target asks for CHAP, and the volume has none'
      : refused
        ? `the target does not take user ${chap.user} with that secret`
        : `the target does not prove itself as ${chap.mutual?.user ?? 'asked'} (mutual CHAP)`;
  return new UnderstudyError(
    {
      code: 'US_STORAGE_CHAP',
      action: 'cannot log in to',
      object,
      cause: `${why}: ${thrown.message}`,
      remedy:
        'make chap: of the volume, the files with the secrets and the accounts of the target agree',
    },
    { cause: thrown },
  );
}
