import { connect } from 'node:net';
import type { Lab } from '../../src/lab/lab.js';
import type { PulseReply } from '../../src/pulse/protocol.js';

type PulseStatus = Extract<PulseReply, { kind: 'status' }>;

/** What a host's pulse says of itself, over its own socket: anybody may ask that beside the agent. */
export function pulseStatus(lab: Lab, host: string): Promise<PulseStatus> {
  return new Promise((resolve, reject) => {
    const socket = connect(`/proc/${lab.pidOf(host)}/root/run/understudy/pulse.sock`);
    let said = '';
    socket.setTimeout(1_000, () => socket.destroy(new Error(`pulse of ${host} does not answer`)));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`pulse of ${host} said no more`)));
    socket.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (!said.endsWith('\n')) return;
      resolve((JSON.parse(said) as { reply: PulseStatus }).reply);
      socket.destroy();
    });
    socket.write(`${JSON.stringify({ id: 1, request: { kind: 'status' } })}\n`);
  });
}
