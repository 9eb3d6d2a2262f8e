import { connect } from 'node:net';
import { messageOf, UnderstudyError } from '../errors.js';
import type { PulseMessageToAgent, PulseReply } from './protocol.js';

export type PulseStatus = Extract<PulseReply, { kind: 'status' }>;

const timeoutMs = 1_000;

/**
 * What a pulse says of itself, over its socket: anybody who may open that may ask, beside the agent.
 *
 * @throws {UnderstudyError} US_PULSE_AWAY
 */
export async function askPulse(
  path: string,
  kind: 'status' | 'reload-keys' = 'status',
): Promise<PulseStatus> {
  try {
    return await ask(path, kind);
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_PULSE_AWAY',
        action: `cannot ask pulse (${kind}) on`,
        object: path,
        cause: messageOf(thrown),
        remedy: 'see systemctl status understudy-pulse',
      },
      { cause: thrown },
    );
  }
}

function ask(path: string, kind: 'status' | 'reload-keys'): Promise<PulseStatus> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let said = '';
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer in ${timeoutMs} ms`)));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('it ended the conversation')));
    socket.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (!said.endsWith('\n')) return;
      socket.destroy();
      const message = JSON.parse(said) as PulseMessageToAgent;
      if ('reply' in message && message.reply.kind === 'status') resolve(message.reply);
      else if ('reply' in message && message.reply.kind === 'error')
        reject(new Error(message.reply.message));
      else reject(new Error('it answered something else'));
    });
    socket.write(`${JSON.stringify({ id: 1, request: { kind } })}\n`);
  });
}
