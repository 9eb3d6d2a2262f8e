import { UnderstudyError } from '../../errors.js';
import { errno as errnoNumbers } from '../../ffi/libc.js';

const nameOf = new Map<number, string>(
  Object.entries(errnoNumbers).map(([name, number]) => [number, name]),
);

/** What a request was about, for the reader of its error: "cannot add", "NIC eth0 of web1". */
export interface Purpose {
  readonly action: string;
  readonly object: string;
}

/** The kernel refused a request on the network. `reason` is its extended acknowledgement, if it gave one. */
export class KernelError extends UnderstudyError {
  /** 'EEXIST'. */
  readonly errnoName: string;

  constructor(purpose: Purpose, errno: number, words: string | undefined) {
    const errnoName = nameOf.get(errno) ?? `errno ${errno}`;
    const { code, remedy } = explanations[errnoName] ?? refused;
    const cause = words === undefined ? errnoName : `${words} (${errnoName})`;
    super({ code, ...purpose, cause: `the kernel says: ${cause}`, remedy });
    this.name = 'KernelError';
    this.errnoName = errnoName;
  }
}

interface Explanation {
  readonly code: `US_${string}`;
  readonly remedy: string;
}

const refused: Explanation = {
  code: 'US_NET_REFUSED',
  remedy: 'check the network in the cluster file against what this kernel and NIC can do',
};

const unsupported: Explanation = {
  code: 'US_NET_UNSUPPORTED',
  remedy: 'load the kernel module this needs (8021q, vxlan, macvlan), or use another fabric',
};

const noDevice: Explanation = {
  code: 'US_NET_NO_PARENT',
  remedy: 'the device it stands on is missing: check the name of the NIC, and whether it is there',
};

const explanations: Readonly<Record<string, Explanation>> = {
  EEXIST: {
    code: 'US_NET_EXISTS',
    remedy: 'something that is not ours is already there: remove it, or choose another id',
  },
  ENODEV: noDevice,
  ENXIO: noDevice,
  EADDRINUSE: {
    code: 'US_NET_EXISTS',
    remedy: 'the vMAC, or the VXLAN port, is in use on this host already: look who holds it',
  },
  EBUSY: {
    code: 'US_NET_PARENT_BUSY',
    remedy: 'the NIC is part of a bridge or bond: name that one as interface of the host instead',
  },
  ENETDOWN: {
    code: 'US_NET_PARENT_DOWN',
    remedy: 'bring the NIC of the internal network up: ip link set NIC up',
  },
  EPERM: {
    code: 'US_NET_NOT_PERMITTED',
    remedy: 'run the agent as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  },
  EACCES: {
    code: 'US_NET_NOT_PERMITTED',
    remedy: 'run the agent as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  },
  EOPNOTSUPP: unsupported,
  EAFNOSUPPORT: unsupported,
  EPROTONOSUPPORT: unsupported,
};

/** The request's answer was lost because the receive queue was full: it may have been carried out. */
export function overflowError(purpose: Purpose): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_OVERFLOW',
    ...purpose,
    cause: 'the kernel had to drop answers (ENOBUFS); the request may have been carried out',
    remedy: 'repeat it; if this persists, raise net.core.rmem_max',
  });
}

export function timeoutError(purpose: Purpose, timeoutMs: number): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_TIMEOUT',
    ...purpose,
    cause: `no answer from the kernel within ${timeoutMs} ms; the request may have been carried out`,
    remedy: 'look for a process that holds the routing lock: cat /proc/*/stack | grep rtnl',
  });
}

export function abortedError(purpose: Purpose): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_ABORTED',
    ...purpose,
    cause: 'it was called off',
    remedy: 'nothing: the agent stopped, or what it was doing became pointless',
  });
}

export function closedError(purpose: Purpose): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_CLOSED',
    ...purpose,
    cause: 'the network adapter was stopped, or the namespace removed, meanwhile',
    remedy: 'nothing: it is done again when it is wanted again',
  });
}
