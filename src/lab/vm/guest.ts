import { setTimeout as pause } from 'node:timers/promises';
import { Line } from './line.js';

/** How a command in a virtual machine ended. */
export interface GuestRan {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

interface ExecStatus {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly signal?: number;
  readonly 'out-data'?: string;
  readonly 'err-data'?: string;
}

/** The line to a machine's guest agent (qemu-ga(8)), in a host's folder. */
export const guestSocket = 'guest.sock';

/**
 * Runs a command in a virtual machine by its guest agent (qemu-ga-ref(7): guest-exec). The line is held only
 * for the length of a question.
 *
 * @param lookAgainMs how often it is asked whether it has ended, which costs an emulated processor some 10 ms
 * @throws {Error} when the guest does not answer: it has no power or is paused, or is not up yet
 */
export async function runInVm(
  folder: string,
  argv: readonly string[],
  lookAgainMs = 100,
): Promise<GuestRan> {
  const [path = '', ...arg] = argv;
  const pid = await ask<{ pid: number }>(folder, 'guest-exec', {
    ...{ path, arg, 'capture-output': true },
    // That of a login; the agent's own is its unit's.
    env: ['HOME=/root', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  });
  for (;;) {
    const status = await ask<ExecStatus>(folder, 'guest-exec-status', pid);
    if (status.exited) {
      const data = (name: 'out-data' | 'err-data') => Buffer.from(status[name] ?? '', 'base64');
      const code = status.exitcode ?? 128 + (status.signal ?? 0);
      return { code, stdout: data('out-data'), stderr: data('err-data') };
    }
    await pause(lookAgainMs);
  }
}

/** One question on a line of its own. */
async function ask<T>(folder: string, execute: string, argument: object): Promise<T> {
  const line = new Line(folder, guestSocket);
  try {
    // What an earlier caller did not wait for may still come: answers count from our number on.
    const id = Math.floor(Math.random() * 2 ** 31);
    line.send('guest-sync', { id });
    await line.answer(({ return: value }) => value === id);
    return await line.ask<T>(execute, argument);
  } finally {
    line.close();
  }
}
