import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
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

/** @throws {UnderstudyError} US_PULSE_CONFIG */
export function readPulseConfig(file: string): PulseConfig {
  const refuse = (cause: string) =>
    new UnderstudyError({
      code: 'US_PULSE_CONFIG',
      action: 'cannot use configuration',
      object: file,
      cause,
      remedy: 'correct the file; the shortest one is a single line: bind: 10.66.0.1',
    });
  let content: unknown;
  try {
    content = parse(readFileSync(file, 'utf8'));
  } catch (thrown) {
    throw refuse(messageOf(thrown));
  }
  const parsed = pulseSchema.safeParse(content);
  if (!parsed.success) throw refuse(z.prettifyError(parsed.error).replaceAll('\n', '; '));
  return parsed.data;
}
