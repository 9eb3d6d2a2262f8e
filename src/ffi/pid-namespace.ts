import { closeSync, openSync } from 'node:fs';
import { check, libc } from './libc.js';

const CLONE_NEWPID = 0x20000000;
const setns = libc.func('int setns(int fd, int nstype)') as (fd: number, type: number) => number;

/**
 * Has the processes that `action` starts be born in another PID namespace, a descendant of ours.
 *
 * Equals: `nsenter --pid=PATH --fork …` without the process in between: setns(2) with CLONE_NEWPID
 * moves nobody, it says where this thread's next children are born. So the child is a direct one,
 * signals and exit codes pass unchanged, and it ends with that namespace. `action` must not await.
 */
export function inPidNamespace<T>(path: string, action: () => T): T {
  const home = openSync('/proc/thread-self/ns/pid', 'r');
  try {
    const other = openSync(path, 'r');
    try {
      check(`setns ${path}`, setns(other, CLONE_NEWPID));
    } finally {
      closeSync(other);
    }
    try {
      return action();
    } finally {
      // Whatever was started next would be born, and die, in the wrong place.
      if (setns(home, CLONE_NEWPID) < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}
