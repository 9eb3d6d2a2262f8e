import { createConnection, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

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

const answerMs = 30_000;
const lookAgainMs = 100;

/**
 * Runs a command in a virtual machine by its guest agent (qemu-ga-ref(7): guest-exec). One caller at a time
 * is served, so the line is held only for the length of a question.
 *
 * @throws {Error} when the guest does not answer: it has no power or is paused, or is not up yet
 */
export async function runInVm(socket: string, argv: readonly string[]): Promise<GuestRan> {
  const [path = '', ...arg] = argv;
  const pid = await ask<{ pid: number }>(socket, 'guest-exec', {
    ...{ path, arg, 'capture-output': true },
    // That of a login; the agent's own is its unit's.
    env: ['HOME=/root', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  });
  for (;;) {
    const status = await ask<ExecStatus>(socket, 'guest-exec-status', pid);
    if (status.exited) {
      const data = (name: 'out-data' | 'err-data') => Buffer.from(status[name] ?? '', 'base64');
      const code = status.exitcode ?? 128 + (status.signal ?? 0);
      return { code, stdout: data('out-data'), stderr: data('err-data') };
    }
    await pause(lookAgainMs);
  }
}

/** One question on a line of its own. */
async function ask<T>(path: string, execute: string, argument: object): Promise<T> {
  const socket = createConnection(path);
  const lines = createInterface({ input: socket });
  const timer = setTimeout(() => {
    socket.destroy(new Error(`the guest does not answer within ${answerMs} ms`));
  }, answerMs);
  try {
    // What an earlier caller did not wait for may still come: answers count from our number on.
    const id = Math.floor(Math.random() * 2 ** 31);
    write(socket, 'guest-sync', { id });
    await answer(socket, lines, ({ return: value }) => value === id);
    write(socket, execute, argument);
    const { return: value, error } = await answer(socket, lines, () => true);
    if (error !== undefined) throw new Error(error.desc);
    return value as T;
  } finally {
    clearTimeout(timer);
    lines.close();
    socket.destroy();
  }
}

interface Answer {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

function write(socket: Socket, execute: string, argument: object): void {
  socket.write(`${JSON.stringify({ execute, arguments: argument })}\n`);
}

function answer(
  socket: Socket,
  lines: Interface,
  wanted: (one: Answer) => boolean,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const gone = () => reject(new Error('the guest’s line is closed'));
    socket.once('error', reject);
    socket.once('close', gone);
    lines.on('line', (line) => {
      const said = JSON.parse(line) as Answer;
      if (!wanted(said)) return;
      socket.off('error', reject);
      socket.off('close', gone);
      lines.removeAllListeners('line');
      resolve(said);
    });
  });
}
