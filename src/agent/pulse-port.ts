import type { PulseEvent, PulseReply, PulseRequest } from '../pulse/protocol.js';

/** The agent's side of the pulse socket; src/pulse/client.ts is the real one. */
export interface PulsePort {
  /** Fails with US_PULSE_… when pulse is away or answers too late. */
  request(request: PulseRequest): Promise<PulseReply>;
  /** Called at every (re)connection, the first included, with pulse's hello. */
  onConnect(listener: (hello: PulseHello) => void): void;
  onEvent(listener: (event: PulseEvent) => void): void;
}

export type PulseHello = Extract<PulseReply, { kind: 'hello' }>;

/** Sends a request whose only good answer is `ok`. */
export async function order(pulse: PulsePort, request: PulseRequest): Promise<void> {
  const reply = await pulse.request(request);
  if (reply.kind === 'ok') return;
  const words =
    reply.kind === 'error' ? `${reply.code} ${reply.message}` : `answered ${reply.kind}`;
  throw new Error(`pulse refused ${request.kind}: ${words}`);
}
