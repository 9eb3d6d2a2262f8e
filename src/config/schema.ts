import { z } from 'zod';

/** Shapes and defaults of the cluster file. What needs two places of the file is in checks.ts. */

const label = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/,
    'write a name of lower-case letters, digits and hyphens, at most 40 long (RFC 1123)',
  );

/** `200ms`, `2s`, `1m` → ms. */
const duration = z
  .string('write a duration with its unit, e.g. 200ms, 2s or 1m')
  .regex(/^\d+(?:\.\d+)?(?:ms|s|m)$/, 'write a duration with its unit, e.g. 200ms, 2s or 1m')
  .transform((text) => {
    const unit = text.endsWith('ms') ? 1 : text.endsWith('s') ? 1_000 : 60_000;
    return Math.round(Number.parseFloat(text) * unit);
  });

const sizeUnits: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** `64MiB` → bytes. */
const size = z
  .string('write a size with its unit, e.g. 64MiB or 10GiB')
  .regex(/^\d+(?:KiB|MiB|GiB)$/, 'write a size with its unit, e.g. 64MiB or 10GiB')
  .transform((text) => Number.parseInt(text, 10) * (sizeUnits[text.slice(-3)] ?? 1));

const oneOrMore = (item: z.ZodString) =>
  z
    .union([item, z.array(item).min(1).max(2)], 'write one, or a list of an IPv4 and an IPv6 one')
    .transform((value) => (typeof value === 'string' ? [value] : value));

const port = z.int('write a port number, 1 to 65535').min(1).max(65_535);

const portRange = z
  .union(
    [port, z.string().regex(/^\d+-\d+$/)],
    "write a port number or a range such as '8000-8010'",
  )
  .transform((value, context) => {
    const [first = 0, last = first] =
      typeof value === 'number' ? [value] : value.split('-').map(Number);
    if (first >= 1 && last <= 65_535 && first <= last) return { first, last };
    context.addIssue({
      code: 'custom',
      message: 'write ports from 1 to 65535, the lower one first',
    });
    return z.NEVER;
  });

const mac = z
  .string()
  .regex(/^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$/, 'write a MAC such as 02:00:00:00:00:11')
  .transform((text) => text.toLowerCase());

/** RFC 3720 section 3.2.6.3. */
const iqn = z
  .string()
  .max(223)
  .regex(
    /^iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(?::[^\s]+)?$/,
    'write an iSCSI name such as iqn.2026-11.example.lab:web1 (RFC 3720)',
  );

const absolutePath = z.string().regex(/^\/(?!.*\/\.\.?(?:\/|$)).*[^/]$/, 'write an absolute path');

const host = z.strictObject({
  name: label,
  address: z.string().default(''),
  interface: z.string().min(1).max(15).default('eth1'),
  pool: label.default('default').transform((name) => (name === 'none' ? null : name)),
  joins: z.array(label).default([]),
});

const network = z.strictObject({
  name: label,
  fabric: z.enum(['untagged', 'vlan', 'vxlan', 'auto']).default('auto'),
  id: z.int().min(0).default(0),
  subnet: oneOrMore(z.string()),
  mtu: z.int().min(576).max(9_216).default(1_500),
  gateways: z.array(z.string()).default([]),
});

const volume = z.strictObject({
  name: label,
  portals: z.array(z.string()).default([]),
  target: iqn,
  lun: z.int().min(0).max(16_383),
  filesystem: z.enum(['ext4', 'xfs']).default('ext4'),
  format: z.enum(['never', 'if-blank']).default('never'),
});

const personality = z.strictObject({
  name: label,
  networks: z
    .array(z.strictObject({ network: label, address: oneOrMore(z.string()), mac: mac.default('') }))
    .min(1),
  routes: z.array(z.strictObject({ to: z.string(), via: z.string() })).default([]),
  storage: z
    .array(z.strictObject({ lun: z.int().min(0).max(255), volume: label, mount: absolutePath }))
    .default([]),
  workload: z
    .union(
      [
        z.strictObject({ command: z.array(z.string().min(1)).min(1) }),
        z.strictObject({ unit: z.string().regex(/^[\w@.:-]+\.service$/) }),
      ],
      'write {command: [program, argument]} or {unit: name.service}',
    )
    .optional(),
  pool: label.default('default'),
  priority: z.int().min(0).max(1_000_000).default(100),
});

const service = z.strictObject({
  name: label,
  network: label,
  address: oneOrMore(z.string()),
  mac: mac.default(''),
  ports: z
    .array(z.strictObject({ protocol: z.enum(['tcp', 'udp']), port: portRange }))
    .min(1)
    .max(32),
  members: z
    .array(
      z.union(
        [
          label,
          z.strictObject({ personality: label, weight: z.int().min(0).max(1_000).default(1) }),
        ],
        'write the name of a personality, or {personality: name, weight: 1}',
      ),
    )
    .min(1),
  hash: z.enum(['source-ip', 'source-ip-port', '5-tuple']).default('source-ip-port'),
  health: z.strictObject({ tcp: port, every: duration }).optional(),
  pool: label.default('default'),
});

const lab = z.strictObject({
  backend: z.enum(['netns', 'vm']).default('netns'),
  clients: z
    .array(z.strictObject({ name: label, network: label, address: oneOrMore(z.string()) }))
    .default([]),
  storage: z
    .array(
      z.strictObject({
        target: iqn,
        luns: z.array(z.strictObject({ lun: z.int().min(1), size })).min(1),
      }),
    )
    .default([]),
});

export const clusterFileSchema = z.strictObject({
  cluster: label,
  controllers: z.array(label).min(1),
  timing: z
    .strictObject({
      heartbeat: duration.default(50),
      lease: duration.default(200),
      announceRefresh: duration.default(60_000),
    })
    .default({ heartbeat: 50, lease: 200, announceRefresh: 60_000 }),
  store: z
    .strictObject({ endpoints: z.array(z.url({ protocol: /^https?$/ })).min(1) })
    .default({ endpoints: [] }),
  hosts: z.array(host).min(1),
  networks: z.array(network).default([]),
  volumes: z.array(volume).default([]),
  personalities: z.array(personality).default([]),
  services: z.array(service).default([]),
  lab: lab.optional(),
});

export type ClusterFile = z.infer<typeof clusterFileSchema>;
