import { readFileSync, statSync } from 'node:fs';
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

const shortestKeyBytes = 32;

/**
 * The cluster key: the file's bytes without white space at the end.
 *
 * @throws {UnderstudyError} US_PULSE_KEY, US_PULSE_KEY_MODE
 */
export function readClusterKey(file: string): Buffer {
  const refuse = (code: 'US_PULSE_KEY' | 'US_PULSE_KEY_MODE', cause: string, remedy: string) =>
    new UnderstudyError({ code, action: 'cannot use cluster key', object: file, cause, remedy });
  const make = `make one on one host (head -c 32 /dev/urandom | base64 > ${file}; chmod 0600 ${file}) and copy it to the others`;
  let mode: number;
  let content: Buffer;
  try {
    mode = statSync(file).mode & 0o777;
    content = readFileSync(file);
  } catch (thrown) {
    throw refuse('US_PULSE_KEY', messageOf(thrown), make);
  }
  if ((mode & 0o077) !== 0) {
    const text = mode.toString(8).padStart(4, '0');
    throw refuse(
      'US_PULSE_KEY_MODE',
      `its mode is ${text}: others than its owner may use it`,
      `chmod 0600 ${file}; if others could read it, make a new key for the whole cluster`,
    );
  }
  let end = content.length;
  while (end > 0 && ' \t\r\n'.includes(String.fromCharCode(content[end - 1] ?? 0))) end--;
  if (end < shortestKeyBytes) {
    throw refuse('US_PULSE_KEY', `${end} bytes; at least ${shortestKeyBytes} are needed`, make);
  }
  return content.subarray(0, end);
}
