import { UnderstudyError } from '../errors.js';
import type { Purpose } from './netlink/error.js';

/** What the adapter itself refuses to do, before it asks the kernel. */
export function foreign(purpose: Purpose, what: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_FOREIGN',
    ...purpose,
    cause: `${what} is already there and carries no tag of this cluster`,
    remedy: 'remove or rename it; Understudy touches only what it made itself',
  });
}

export function inUse(purpose: Purpose, users: readonly string[]): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_IN_USE',
    ...purpose,
    cause: `NICs stand on it: ${users.join(', ')}`,
    remedy: 'move these personalities away or drain the host first: understudy drain HOST',
  });
}

export function unknownNetwork(purpose: Purpose, network: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_UNKNOWN_NETWORK',
    ...purpose,
    cause: `network ${network} was not set up on this host`,
    remedy: 'report this: the agent must set a network up before it is used',
  });
}

export function tooBig(
  purpose: Purpose,
  needed: number,
  nic: string,
  has: number,
): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_MTU',
    ...purpose,
    cause: `it needs ${needed} bytes a frame, ${nic} carries ${has}`,
    remedy: `raise the MTU of ${nic} (and of the switch) to ${needed}, or lower the network's mtu by ${needed - has}`,
  });
}

export function stale(purpose: Purpose, wanted: string, there: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_STALE_EPOCH',
    ...purpose,
    cause: `${there} is there already, and ${wanted} is older`,
    remedy: 'nothing: an order from before the last failover came late',
  });
}

export function badName(purpose: Purpose, name: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_BAD_NAME',
    ...purpose,
    cause: `${JSON.stringify(name)} cannot be part of a tag and of a path`,
    remedy: 'use letters, digits, dots, dashes and underscores, at most 63 for each name',
  });
}

export function noNic(purpose: Purpose, what: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_NO_NIC',
    ...purpose,
    cause: what,
    remedy: 'nothing: the agent sets the personality up again; see understudy events',
  });
}

export function noParent(purpose: Purpose, nic: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_NO_PARENT',
    ...purpose,
    cause: `there is no device ${nic}`,
    remedy: 'check interface: of this host in the cluster file, and ip link show',
  });
}

export function parentDown(purpose: Purpose, nic: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_PARENT_DOWN',
    ...purpose,
    cause: `${nic} is down`,
    remedy: `bring it up, and see that it comes up at boot: ip link set ${nic} up`,
  });
}

export function noAddress(purpose: Purpose, address: string, nic: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_NO_ADDRESS',
    ...purpose,
    cause: `this host does not have the address ${address}`,
    remedy: `check address: of this host in the cluster file, and ip address show dev ${nic}`,
  });
}
