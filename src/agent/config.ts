import { z } from 'zod';
import { defaultTokenFile } from '../api/token-file.js';
import { readSettings } from '../config/settings.js';
import { storeSettings } from '../store/settings.js';

/** One host's own settings, /etc/understudy/agent.yaml. All else is in the store. */
export const agentSchema = z.strictObject({
  host: z.string(),
  cluster: z.string(),
  store: storeSettings,
  pulseSocket: z.string().default('/run/understudy/pulse.sock'),
  pulsePort: z.number().int().min(1).max(65535).default(7411),
  /** TCP port for what other hosts' dispatchers remember of flows; false for none. */
  flowsPort: z.union([z.literal(false), z.number().int().min(1).max(65535)]).default(7414),
  runDirectory: z.string().default('/run/understudy'),
  bpffs: z.string().default('/sys/fs/bpf'),
  underlayInterface: z.string().default('eth1'),
  underlayAddress: z.string(),
  storageBackend: z.enum(['user', 'kernel', 'auto']).default('user'),
  /** Read-only HTTP on loopback; false for none. */
  api: z
    .union([
      z.literal(false),
      z.strictObject({
        bind: z.string().default('127.0.0.1'),
        port: z.number().int().min(1).max(65535).default(7412),
      }),
    ])
    .default({ bind: '127.0.0.1', port: 7412 }),
  /** HTTPS for callers elsewhere; never without TLS and tokens. Left out: none. */
  remoteApi: z
    .strictObject({
      bind: z.string(),
      port: z.number().int().min(1).max(65535).default(7413),
      tls: z.strictObject({ certificate: z.string(), key: z.string() }),
      tokens: z.string().default(defaultTokenFile),
    })
    .optional(),
  keyFile: z.string().default('/etc/understudy/cluster.key'),
  /**
   * false leaves announcing to somebody else (a routing daemon, a controller of the fabric): then
   * nothing tells switches and neighbours where a vMAC went.
   */
  announce: z.boolean().default(true),
});

export type AgentConfig = z.infer<typeof agentSchema>;

/** @throws {UnderstudyError} US_AGENT_CONFIG */
export function readAgentConfig(path: string): AgentConfig {
  return readSettings(path, agentSchema, 'US_AGENT_CONFIG');
}
