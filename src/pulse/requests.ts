import { isIP } from 'node:net';
import { z } from 'zod';
import { lastSet, longestLeaseMs } from '../control/records.js';
import type { PulseMessageToPulse } from './protocol.js';

/** What may come over the socket; anything else is answered with US_PULSE_REQUEST. */
const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'is no name');
const incarnation = z.int().min(1).max(0xffff_ffff);
const peer = z.strictObject({
  name,
  address: z.string().refine((text) => isIP(text) !== 0, 'must be an IP address'),
  port: z.int().min(1).max(65_535),
});
const distinctPeers = (most: number) =>
  z
    .array(peer)
    .max(most)
    .refine((peers) => new Set(peers.map((one) => one.name)).size === peers.length, {
      message: 'names a peer twice',
    });
const set = z.int().min(0).max(lastSet);
/** One that is named twice would count twice for a majority. */
const distinctNames = z
  .array(name)
  .min(1)
  .max(9)
  .refine((names) => new Set(names).size === names.length, { message: 'names one twice' });
const electorate = z.strictObject({
  set,
  sets: z.array(distinctNames).min(1).max(2),
});
const mostCarried = 10_000;
const incarnations = z.array(z.strictObject({ host: name, incarnation })).max(100_000);
const timing = {
  leaseMs: z.int().min(10).max(60_000),
  clockMarginPercent: z.number().min(0).max(50),
};

const request = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('hello') }),
  z.strictObject({
    kind: z.literal('enrol'),
    host: name,
    incarnation,
    // Of two sets, while one replaces the other.
    controllers: distinctPeers(18).min(1),
    electorate: electorate.optional(),
    heartbeatMs: z.int().min(5).max(10_000),
    ...timing,
    enforce: z.boolean(),
    guardMapPath: z.string().min(1).max(4096),
  }),
  z.strictObject({ kind: z.literal('retire') }),
  z.strictObject({
    kind: z.literal('control'),
    controller: name,
    hosts: distinctPeers(10_000),
    stopped: incarnations,
    watched: incarnations.optional(),
    sets: z.strictObject({ lowest: set, newest: set }).optional(),
    longer: z
      .array(
        z.strictObject({ host: name, incarnation, leaseMs: z.int().min(1).max(longestLeaseMs) }),
      )
      .max(10_000)
      .optional(),
    ...timing,
  }),
  z.strictObject({
    kind: z.literal('stop-acks'),
    host: name,
    incarnation,
    onlyIfLapsed: z.boolean().optional(),
  }),
  z.strictObject({ kind: z.literal('resume-acks'), host: name, incarnation }),
  z.strictObject({
    kind: z.literal('lengthen'),
    incarnation,
    leaseMs: z.int().min(0).max(longestLeaseMs),
  }),
  z.strictObject({
    kind: z.literal('carries'),
    // 0: none yet.
    incarnation: z.int().min(0).max(0xffff_ffff),
    roles: z.array(z.string().max(100)).max(mostCarried).optional(),
  }),
  z.strictObject({ kind: z.literal('status') }),
  z.strictObject({ kind: z.literal('reload-keys') }),
]);

const message = z.strictObject({ id: z.int().min(0), request });

/** One line of an agent, or what is wrong with it and whom to tell (id 0 if that is unreadable). */
export function parseRequest(
  line: string,
): PulseMessageToPulse | { readonly id: number; readonly problem: string } {
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    return { id: 0, problem: 'not JSON' };
  }
  const parsed = message.safeParse(content);
  if (parsed.success) return withoutUndefined(parsed.data);
  const id = z.object({ id: z.int().min(0) }).safeParse(content).data?.id ?? 0;
  return { id, problem: z.prettifyError(parsed.error).replaceAll('\n', '; ').slice(0, 1_000) };
}

/** JSON has no undefined, so what zod calls `T | undefined` is an absent member. */
function withoutUndefined(data: z.infer<typeof message>): PulseMessageToPulse {
  return data as PulseMessageToPulse;
}
