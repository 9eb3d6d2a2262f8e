import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { LineReader } from './lines.js';
import type { PulseMessageToAgent, PulseReply } from './protocol.js';

export type PulseStatus = Extract<PulseReply, { kind: 'status' }>;

const longestLineBytes = 16 * 1024 * 1024;

/**
 * Asks a pulse how it is, several times on one connection. Only `status`, which anybody may ask: a
 * `hello` would take the agent's seat.
 *
 * @param timeoutMs for each answer
 * @throws what the connection says, or that no answer came
 */
export async function askStatus(
  path: string,
  options: {
    readonly times: number;
    readonly pauseMs: number;
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
  },
): Promise<readonly PulseStatus[]> {
  const { times, pauseMs, timeoutMs, signal } = options;
  const socket = connect(path);
  const reader = new LineReader(longestLineBytes);
  const answers: PulseStatus[] = [];
  try {
    for (let id = 1; id <= times; id++) {
      const answered = new Promise<PulseStatus>((resolve, reject) => {
        socket.setTimeout(timeoutMs, () => reject(new Error(`no answer within ${timeoutMs} ms`)));
        socket.once('error', reject);
        socket.once('close', () => reject(new Error('it hung up')));
        socket.on('data', (chunk: Buffer) => {
          for (const line of reader.feed(chunk) ?? []) {
            const message = JSON.parse(line) as PulseMessageToAgent;
            if ('id' in message && message.id === id && message.reply.kind === 'status') {
              resolve(message.reply);
            }
          }
        });
      });
      socket.write(`${JSON.stringify({ id, request: { kind: 'status' } })}\n`);
      answers.push(await answered);
      for (const event of ['error', 'close', 'data', 'timeout']) socket.removeAllListeners(event);
      if (id < times) await pause(pauseMs, undefined, { signal });
    }
    return answers;
  } finally {
    socket.on('error', () => undefined);
    socket.destroy();
  }
}
