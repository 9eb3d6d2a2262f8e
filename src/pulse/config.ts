import { existsSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../errors.js';

/** The file of `understudy pulse --config FILE`, YAML or JSON. */
export const pulseSchema = z.strictObject({
  /** Address of this host on the internal network. */
  bind: z.string().refine((text) => isIP(text) !== 0, 'must be an IPv4 or IPv6 address'),
  port: z.int().min(1).max(65_535).default(7411),
  keyFile: z.string().min(1).default('/etc/understudy/cluster.key'),
  socket: z.string().min(1).max(100).default('/run/understudy/pulse.sock'),
  /** Real-time scheduling and locked memory. */
  realtime: z.boolean().default(true),
});

export type PulseConfig = z.infer<typeof pulseSchema>;

/** What the agent's file says of pulse; its other keys are the agent's business. */
const agentsWords = z
  .object({
    underlayAddress: pulseSchema.shape.bind,
    pulsePort: pulseSchema.shape.port,
    keyFile: pulseSchema.shape.keyFile,
    pulseSocket: pulseSchema.shape.socket,
  })
  .transform(({ underlayAddress: bind, pulsePort: port, pulseSocket: socket, keyFile }) =>
    pulseSchema.parse({ bind, port, socket, keyFile }),
  );

/**
 * Without a file of its own pulse takes what the agent's, `agent.yaml` beside it, says of it: then a
 * host has one file.
 *
 * @throws {UnderstudyError} US_PULSE_CONFIG
 */
export function readPulseConfig(file: string): PulseConfig {
  const agents = join(dirname(file), 'agent.yaml');
  const shared = !existsSync(file) && existsSync(agents);
  const read = shared ? agents : file;
  const refuse = (cause: string) =>
    new UnderstudyError({
      code: 'US_PULSE_CONFIG',
      action: 'cannot use configuration',
      object: read,
      cause,
      remedy:
        'correct the file; the shortest one for pulse alone is a single line: bind: 10.66.0.1',
    });
  let content: unknown;
  try {
    content = parse(readFileSync(read, 'utf8'));
  } catch (thrown) {
    throw refuse(messageOf(thrown));
  }
  const parsed = (shared ? agentsWords : pulseSchema).safeParse(content);
  if (!parsed.success) throw refuse(z.prettifyError(parsed.error).replaceAll('\n', '; '));
  return parsed.data;
}
