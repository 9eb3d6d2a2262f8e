import { closeSync, openSync } from 'node:fs';
import { check, libc } from './libc.js';

const CLONE_NEWNET = 0x40000000;
const setns = libc.func('int setns(int fd, int nstype)') as (fd: number, type: number) => number;

/**
 * Runs `action` with this thread in another network namespace and comes back.
 *
 * Equals: `nsenter --net=PATH …`, for one synchronous step (setns(2): it moves the calling thread
 * only, and sockets keep the namespace they were made in). `action` must not await: everything
 * else on this thread would run in the wrong namespace. If going back fails the process aborts,
 * since whatever came next would act on somebody else's network.
 */
export function inNetworkNamespace<T>(path: string, action: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const other = openSync(path, 'r');
    try {
      check(`setns ${path}`, setns(other, CLONE_NEWNET));
    } finally {
      closeSync(other);
    }
    try {
      return action();
    } finally {
      if (setns(home, CLONE_NEWNET) < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

/** Moves this thread for good: for a command that works inside a running lab. */
export function enterNetworkNamespace(path: string): void {
  const target = openSync(path, 'r');
  try {
    check(`setns ${path}`, setns(target, CLONE_NEWNET));
  } finally {
    closeSync(target);
  }
}
