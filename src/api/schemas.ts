import { z } from 'zod';
import type { AuditRecord, EventRecord } from '../control/records.js';
import type { Status } from '../control/status.js';
import type { Timeline } from '../control/timeline.js';
import type { Plan } from '../plan/types.js';

/**
 * What the API answers and takes. The OpenAPI document is made of these, and requests are read by them.
 * Answers may gain fields, so objects in them are open; requests with unknown keys are refused.
 */

const text = z.string();
const number = z.number();
const count = z.int().min(0);
const phase = z.enum(['unplaced', 'starting', 'running', 'stopping', 'failed']);

export const healthSchema = z.looseObject({
  store: z.boolean().describe('whether the store answers this agent'),
  pulse: z.boolean().describe("whether this host's pulse answers"),
});

const memberRate = { packets: number, bytes: number, newFlows: number };

export const statusSchema: z.ZodType<Status> = z.looseObject({
  cluster: text,
  leader: text.nullable(),
  quorum: z.boolean().describe('whether the store answered now; the rest is what was last heard'),
  controllersChange: z
    .looseObject({
      from: z.array(text).nullable().describe('null once the new ones count alone'),
      to: z.array(text),
      phase: z.enum(['reading', 'moving', 'refusing', 'waiting', 'settling']),
      waitsFor: z.array(text),
      reason: text,
    })
    .nullable()
    .describe('the controllers are being changed; null: they are not'),
  hosts: z.array(
    z.looseObject({
      name: text,
      state: z.enum(['up', 'expired', 'fenced', 'drained', 'down']),
      pool: text.nullable(),
      incarnation: count,
      controller: z.boolean(),
      granting: z.boolean(),
      votes: z.array(text),
      reason: text,
      personalities: z.array(text),
      dispatches: z.array(text),
    }),
  ),
  personalities: z.array(
    z.looseObject({
      name: text,
      host: text.nullable(),
      epoch: count,
      phase,
      reason: text,
      interfaces: z.array(z.looseObject({ network: text, mac: text, addresses: z.array(text) })),
      volumes: z.array(
        z.looseObject({
          name: text,
          lun: count,
          device: text,
          mount: text,
          portal: text,
          target: text,
          targetLun: count,
          serial: text,
          sizeBytes: count,
          reservation: text.optional(),
          trouble: text
            .optional()
            .describe(
              'why it stands still: none of its portals answers, or its session is not logged in',
            ),
        }),
      ),
      failures: z
        .looseObject({ count, last: text })
        .nullable()
        .describe('ends of its workload in a row, a minute apart at most; null: it is well'),
    }),
  ),
  services: z.array(
    z.looseObject({
      name: text,
      network: text,
      address: text,
      addresses: z.array(text),
      nextHops: z.array(text).describe('of one of several dispatchers: where routers send to'),
      mac: text,
      dispatcher: text.nullable(),
      epoch: count,
      phase,
      members: z.array(
        z.looseObject({
          personality: text,
          weight: count,
          health: z.enum(['up', 'down', 'draining']),
          reason: text.describe('why it gets no new flows; empty for one that does'),
          slots: count,
          traffic: z
            .looseObject({ ...memberRate, perSecond: z.looseObject(memberRate).nullable() })
            .nullable()
            .describe('sent on to it; null where that is not told'),
        }),
      ),
      traffic: z
        .looseObject({
          received: number,
          passed: number,
          dropped: z.record(text, number),
          by: z.literal('nftables').optional(),
        })
        .nullable()
        .describe('packets to its MAC, since this host dispatches it, some seconds ago'),
    }),
  ),
});

export const failoverSchema: z.ZodType<Timeline> = z.looseObject({
  id: text,
  personality: text.describe('name of the personality, or of the service whose dispatcher moved'),
  kind: z.enum(['personality', 'service']),
  from: text.nullable(),
  to: text,
  epoch: count,
  cause: text,
  reason: text,
  evidence: z.array(z.looseObject({ controller: text, lastAckAgoMs: number.nullable() })),
  steps: z
    .array(
      z.looseObject({
        name: z.enum([
          ...['detect', 'decide', 'fence', 'network', 'storage', 'announce', 'workload'],
          'verify',
        ] as const),
        startMs: number,
        endMs: number,
        host: text,
        ok: z.boolean(),
        detail: text,
      }),
    )
    .describe('zero is the last heartbeat that was acknowledged'),
  outcome: z.enum(['ok', 'failed', 'running']),
  verifiedBy: text.nullable(),
  committedBy: text,
  atUnixMs: number,
  clockOffset: z.enum(['one-clock', 'counted-from-delivery']),
}) as unknown as z.ZodType<Timeline>;

export const eventSchema: z.ZodType<EventRecord> = z.looseObject({
  atUnixMs: number,
  host: text,
  kind: text,
  subject: text,
  text,
});

export const auditSchema: z.ZodType<AuditRecord> = z.looseObject({
  atUnixMs: number,
  who: text,
  from: text,
  what: z.enum([
    'apply',
    'move',
    'drain',
    'undrain',
    'fenced',
    'key',
    'pulse-restart',
    'reservation',
  ]),
  subject: text,
  detail: text,
});

export const planSchema: z.ZodType<Plan & { readonly id: string }> = z.looseObject({
  id: text.describe('what apply wants to be told: this file, on top of what stands now'),
  cluster: text,
  generation: z.looseObject({ from: count, to: count }),
  changes: z.boolean(),
  operations: z.array(
    z.looseObject({
      at: text.describe('a host, store or target'),
      kind: text,
      action: z.enum(['add', 'change', 'remove', 'put', 'delete']),
      object: text,
      state: z.looseObject({}),
      text,
      why: text,
    }),
  ),
  services: z.array(
    z.looseObject({
      service: text,
      change: z.enum(['new', 'changed', 'removed']),
      slotsMoved: count,
      slots: count,
      liveFlows: z.null(),
    }),
  ),
  warnings: z.array(text),
}) as unknown as z.ZodType<Plan & { readonly id: string }>;

export const errorSchema = z.strictObject({
  ok: z.literal(false),
  error: z.looseObject({
    code: text.regex(/^US_[A-Z_]+$/),
    action: text,
    object: text,
    cause: text,
    do: text.describe('what to do'),
  }),
});

/** A name of the cluster file. */
const name = z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/);
/** A cluster file has at most 1 MiB. */
const file = z
  .string()
  .min(1)
  .max(1024 * 1024)
  .describe('the cluster file, YAML');

export const moveBody = z.strictObject({ personality: name, to: name.optional() });
export const hostBody = z.strictObject({ host: name });
export const fencedBody = z.strictObject({
  host: name,
  yes: z.literal(true).describe('I have made sure that it is off'),
});
export const planBody = z.strictObject({ file });
export const applyBody = z.strictObject({
  file,
  plan: z
    .string()
    .regex(/^[0-9a-f]{32}$/)
    .describe('id of the plan that was looked at'),
});

export const movedSchema = z.looseObject({ personality: text, from: text.nullable(), to: text });
export const drainedSchema = z.looseObject({ host: text, drained: z.boolean() });
export const fencedSchema = z.looseObject({
  host: text,
  incarnation: count,
  fenced: z.literal(true),
});
export const appliedSchema = z.looseObject({ cluster: text, generation: count });
export const rootSchema = z.looseObject({ host: text, version: text, paths: z.array(text) });
export const documentSchema = z.looseObject({ openapi: text });
