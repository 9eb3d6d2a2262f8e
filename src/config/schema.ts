import { z } from 'zod';

/** Shapes and defaults of the cluster file. What needs two places of the file is in checks.ts. */

const labelForm =
  'write a name of lower-case letters, digits and hyphens, at most 40 long (RFC 1123)';

const label = z.string(labelForm).regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, labelForm);

const durationForm = 'write a duration with its unit, e.g. 200ms, 2s or 1m';
const longestDurationMs = 24 * 60 * 60 * 1_000;

/** `200ms`, `2s`, `1m` → ms: 1 ms to a day. */
const duration = z
  .string(durationForm)
  .regex(/^\d{1,9}(?:\.\d{1,9})?(?:ms|s|m)$/, durationForm)
  .transform((text, context) => {
    const unit = text.endsWith('ms') ? 1 : text.endsWith('s') ? 1_000 : 60_000;
    const ms = Math.round(Number.parseFloat(text) * unit);
    if (ms >= 1 && ms <= longestDurationMs) return ms;
    context.addIssue({ code: 'custom', message: 'write a duration from 1ms to 1440m' });
    return z.NEVER;
  });

const sizeUnits: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
const sizeForm = 'write a size with its unit, e.g. 64MiB or 10GiB';
const smallestSizeBytes = 2 ** 20;
const largestSizeBytes = 2 ** 44;

/** `64MiB` → bytes: 1 MiB to 16 TiB. */
const size = z
  .string(sizeForm)
  .regex(/^\d{1,12}(?:KiB|MiB|GiB)$/, sizeForm)
  .transform((text, context) => {
    const bytes = Number.parseInt(text, 10) * (sizeUnits[text.slice(-3)] ?? 1);
    if (bytes >= smallestSizeBytes && bytes <= largestSizeBytes) return bytes;
    context.addIssue({ code: 'custom', message: 'write a size from 1MiB to 16384GiB' });
    return z.NEVER;
  });

const oneOrMore = (item: z.ZodString) =>
  z
    .union([item, z.array(item).min(1).max(2)], 'write one, or a list of an IPv4 and an IPv6 one')
    .transform((value) => (typeof value === 'string' ? [value] : value));

const port = z.int('write a port number, 1 to 65535').min(1).max(65_535);

const portForm = "write a port number or a range such as '8000-8010'";

const portRange = z
  .union([port, z.string().regex(/^\d{1,5}-\d{1,5}$/, portForm)], portForm)
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

/**
 * RFC 3720 section 3.2.6.3: `iqn.`, year and month, a domain backwards, and what its owner likes. Without a slash,
 * which RFC 3722 forbids: a target of LIO is a folder by this name.
 */
const iqn = z
  .string()
  .max(223, 'write an iSCSI name of at most 223 characters (RFC 3720)')
  .regex(
    /^iqn\.\d{4}-(?:0[1-9]|1[0-2])\.[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[^\s/]+)?$/,
    'write an iSCSI name such as iqn.2026-11.example.lab:web1 (RFC 3720)',
  );

const mountForm =
  'write an absolute path such as /srv/data, without . or .. and with no / at its end';

/** Components of anything but control characters; `//`, `.` and `..` would be a second spelling. */
const absolutePath = z
  .string(mountForm)
  .max(4_000, mountForm)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused here
  .regex(/^(?:\/(?!\.{1,2}(?:\/|$))[^/\u0000-\u001f\u007f]+)+$/, mountForm)
  .refine((path) => !/^\/(?:proc|sys|dev|run\/understudy)(?:\/|$)/.test(path), {
    message: 'write a path outside /proc, /sys, /dev and /run/understudy',
  });

/** As the kernel has it (dev_valid_name): at most 15 bytes, no space, slash or colon. */
const interfaceName = z
  .string()
  .regex(
    /^(?!\.{1,2}$)[^\s/:\u0080-\uffff]{1,15}$/,
    'write the name of a NIC, at most 15 characters, e.g. eth1',
  );

const endpoint = z
  .string()
  .regex(
    /^https?:\/\/(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/,
    'write http://ADDRESS:PORT or https://ADDRESS:PORT, e.g. http://10.66.0.1:2379',
  );

const argument = z
  .string()
  .min(1, 'write an argument that is not empty')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: execve(2) ends an argument at a zero byte
  .regex(/^[^\u0000]*$/, 'write an argument without a zero byte');

/** Told on standard input, a line each (fence-agents(7)): so no line break in a value. */
const fenceOption = z
  .union([z.string(), z.number(), z.boolean()])
  .transform(String)
  .refine((text) => !/[\r\n]/.test(text) && text.length <= 1_000, {
    message: 'write a value of one line',
  });

const power = z.strictObject({
  agent: z
    .string()
    .regex(
      /^(?:\/(?:[A-Za-z0-9._-]+\/)*)?[A-Za-z0-9._-]+$/,
      'write the name of a fence agent, e.g. fence_ipmilan, or its path',
    ),
  options: z
    .record(
      z.string().regex(/^[a-z][a-z0-9_-]{0,40}$/, 'write the name of an option of the agent'),
      fenceOption,
    )
    .default({}),
  passwordFile: absolutePath.optional(),
  action: z.enum(['off', 'reboot']).default('off'),
  timeout: duration.default(20_000),
});

const host = z.strictObject({
  name: label,
  address: z.string().default(''),
  interface: interfaceName.default('eth1'),
  pool: label.default('default').transform((name) => (name === 'none' ? null : name)),
  joins: z.array(label).default([]),
  capacity: z.int().min(1).max(1_000).optional(),
  power: power.optional(),
});

const network = z.strictObject({
  name: label,
  fabric: z.enum(['untagged', 'vlan', 'vxlan', 'auto']).default('auto'),
  id: z.int().min(0).default(0),
  subnet: oneOrMore(z.string()),
  mtu: z.int().min(576).max(9_216).default(1_500),
  gateways: z.array(z.string()).default([]),
});

/** Names and secrets go through libiscsi, which has 255 bytes for each. */
const chapSide = {
  user: z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'write a CHAP name of printable ASCII without blanks'),
  secretFile: absolutePath,
};

const volume = z.strictObject({
  name: label,
  portals: z.array(z.string()).default([]),
  target: iqn,
  lun: z.int().min(0).max(16_383),
  filesystem: z.enum(['ext4', 'xfs', 'none']).default('ext4'),
  format: z.enum(['never', 'if-blank']).default('never'),
  access: z.enum(['read-write', 'read-only']).default('read-write'),
  fence: z.enum(['mask', 'reservation']).default('mask'),
  chap: z.strictObject({ ...chapSide, mutual: z.strictObject(chapSide).optional() }).optional(),
});

const commandForm = 'write the program and its arguments, e.g. [nginx, -g, "daemon off;"]';

/** systemd.unit(5); a template without its instance cannot be started. */
const unit = z
  .string()
  .max(255)
  .regex(
    /^[A-Za-z0-9:_.\\-]+(?:@[A-Za-z0-9:_.\\-]+)?\.service$/,
    'write the name of a service unit, e.g. nginx@web1.service',
  );

const moveAfterFailures = z.int().min(1).max(100).optional();

const personality = z.strictObject({
  name: label,
  networks: z
    .array(z.strictObject({ network: label, address: oneOrMore(z.string()), mac: mac.default('') }))
    .min(1, 'write a NIC at least, e.g. {network: blue, address: 10.10.0.11/24}'),
  routes: z.array(z.strictObject({ to: z.string(), via: z.string() })).default([]),
  storage: z
    .array(z.strictObject({ lun: z.int().min(0).max(255), volume: label, mount: absolutePath }))
    .default([]),
  workload: z
    .union(
      [
        z.strictObject({ command: z.array(argument).min(1, commandForm), moveAfterFailures }),
        z.strictObject({ unit, moveAfterFailures }),
      ],
      'write {command: [program, argument]} or {unit: name.service}',
    )
    .optional(),
  pool: label.default('default'),
  priority: z.int().min(0).max(1_000_000).default(100),
});

const scriptForm = 'write the program and its arguments, e.g. [/usr/local/lib/check-db, --quick]';

const userForm = 'write the name of a user of each host, e.g. postgres (useradd(8))';

const service = z.strictObject({
  name: label,
  network: label,
  address: oneOrMore(z.string()),
  mac: mac.default(''),
  dispatchers: z.array(oneOrMore(z.string())).optional(),
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
  balance: z.enum(['hash', 'none']).default('hash'),
  drain: duration.default(300_000),
  udpSticky: duration.optional(),
  slowStart: duration.optional(),
  xdp: z.boolean().default(false),
  dataPlane: z.enum(['auto', 'bpf', 'nftables']).default('auto'),
  health: z
    .strictObject({
      tcp: port.optional(),
      http: port.optional(),
      path: z.string().optional(),
      script: z.array(argument).min(1, scriptForm).max(64).optional(),
      user: z
        .string(userForm)
        .regex(/^[a-z_][a-z0-9_-]{0,31}$/, userForm)
        .optional(),
      every: duration.optional(),
    })
    .optional(),
  pool: label.default('default'),
});

const lab = z.strictObject({
  backend: z.enum(['netns', 'vm']).default('netns'),
  target: z.enum(['tgt', 'lio']).default('tgt'),
  clients: z
    .array(z.strictObject({ name: label, network: label, address: oneOrMore(z.string()) }))
    .default([]),
  storage: z
    .array(
      z.strictObject({
        target: iqn,
        luns: z.array(z.strictObject({ lun: z.int().min(1).max(16_383), size })).min(1),
      }),
    )
    .default([]),
});

export const clusterFileSchema = z.strictObject({
  cluster: label,
  controllers: z.array(label).min(1, 'write 1, 3 or 5 names of hosts'),
  timing: z
    .strictObject({
      heartbeat: duration.default(50),
      lease: duration.default(200),
      announceRefresh: duration.default(60_000),
    })
    .default({ heartbeat: 50, lease: 200, announceRefresh: 60_000 }),
  fencing: z.strictObject({ enforce: z.boolean().optional() }).default({}),
  store: z
    .strictObject({
      endpoints: z
        .array(endpoint)
        .min(1, 'write the members of etcd, e.g. ["http://10.66.0.1:2379"]'),
    })
    .default({ endpoints: [] }),
  hosts: z.array(host).min(1),
  networks: z.array(network).default([]),
  volumes: z.array(volume).default([]),
  personalities: z.array(personality).default([]),
  services: z.array(service).default([]),
  lab: lab.optional(),
});

export type ClusterFile = z.infer<typeof clusterFileSchema>;
