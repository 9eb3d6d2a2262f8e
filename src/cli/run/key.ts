import { createServer, type Server } from 'node:net';
import { type AgentConfig, readAgentConfig } from '../../agent/config.js';
import { put } from '../../agent/transactions.js';
import { statusOf } from '../../control/status.js';
import { configOf, type View } from '../../control/view.js';
import { messageOf } from '../../errors.js';
import { auditOperations, type Change, personHere } from '../../operate/audit.js';
import {
  acceptKey,
  dropKey,
  type HostKeys,
  type Keyring,
  type KeyStep,
  refused,
  useKey,
} from '../../operate/key-change.js';
import { askPulse } from '../../pulse/ask.js';
import { keyName, readClusterKeys, splitKeys, writeClusterKeys } from '../../pulse/keys.js';
import type { Compare, Store } from '../../store/types.js';
import { type Cluster, type ClusterOptions, withCluster } from '../cluster.js';

export interface KeyOptions extends ClusterOptions {
  readonly json: boolean;
  /** An agent's configuration file: of this host. */
  readonly config: string;
}

const keyringKey = 'keyring';

const attempts = 5;

/** Which keys the pulse of this host has. */
export async function show({ config, json }: KeyOptions): Promise<number> {
  const { host, pulseSocket } = readAgentConfig(config);
  const { keys = [], counters } = await askPulse(pulseSocket);
  const [signs = '?', accepts = null] = keys;
  const byOther = counters['by-other-key'] ?? 0;
  process.stdout.write(
    json
      ? `${JSON.stringify({ host, signs, accepts, byOther })}\n`
      : `${host} signs by key ${signs}${accepts === null ? '' : `, accepts ${accepts} too (${byOther} packets so far)`}\n`,
  );
  return 0;
}

/** First step, on every host: the new key is accepted, the old one goes on signing. */
export function accept(options: KeyOptions & { readonly file: string }): Promise<number> {
  const [young] = readClusterKeys(options.file);
  return change(options, 'accept', (host, file) => acceptKey(host, file, keyName(young)), young);
}

/** Second step, once every host accepts the new key: this one signs by it. */
export function use(options: KeyOptions): Promise<number> {
  return change(options, 'use', (host, file, keyring, view) =>
    useKey(host, file, keyring, living(view)),
  );
}

/** Third step, once every host signs by the new key: the old one is good for nothing any more. */
export function drop(options: KeyOptions): Promise<number> {
  return change(options, 'drop', (host, file, keyring, view) =>
    dropKey(host, file, keyring, living(view)),
  );
}

type Keys = readonly [Buffer, ...Buffer[]];
type Decide = (host: string, file: readonly string[], keyring: Keyring, view: View) => KeyStep;

/**
 * Tells the other hosts what they must know first, and only on top of what was read of them: of two steps
 * at once that would part hosts one is refused. Then writes the file, lets pulse read it, sees that it did,
 * and tells the rest.
 *
 * @param young a key that is not in the file yet
 */
async function change(
  options: KeyOptions,
  step: 'accept' | 'use' | 'drop',
  decide: Decide,
  young?: Buffer,
): Promise<number> {
  const agent = readAgentConfig(options.config);
  const { host, keyFile } = agent;
  const lock = await alone(host);
  try {
    return await withCluster(options, async ({ store, view }: Cluster) => {
      const before = readClusterKeys(keyFile);
      const names = before.map(keyName);
      const decided = await rewrite(store, host, async (keyring) => {
        const next = decide(host, names, keyring, await view());
        return { next, told: next.before };
      });
      const known = new Map(
        [...before, ...(young ? [young] : [])].map((key) => [keyName(key), key]),
      );
      const [first, ...rest] = decided.file.flatMap((name) => known.get(name) ?? []);
      if (first === undefined) throw refused(host, 'no key would be left', 'report this');
      try {
        await replaceKeys(agent, before, [first, ...rest]);
      } catch (thrown) {
        if (decided.before !== undefined) {
          const { young = null } = decided.after ?? decided.before;
          await rewrite(store, host, async () => ({ next: decided, told: { keys: names, young } }));
        }
        throw thrown;
      }
      const { after } = decided;
      await rewrite(store, host, async () => ({ next: decided, told: after }));
      const [signs = '', accepts = null] = decided.file;
      const detail = `key ${step} on ${host}: signs by ${signs}${accepts === null ? '' : `, accepts ${accepts}`}`;
      const change: Change = { what: 'key', subject: host, detail };
      await store.transact({ compare: [], write: auditOperations(personHere(), change) });
      process.stdout.write(
        options.json ? `${JSON.stringify({ host, signs, accepts })}\n` : `${detail}\n`,
      );
      return 0;
    });
  } finally {
    lock.close();
  }
}

/** One step at a time on this host. An abstract name (unix(7)) is given back however the process ends. */
function alone(host: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const lock = createServer();
    const cause = 'another key command is at work on this host';
    lock.once('error', () => reject(refused(host, cause, 'wait for it')));
    lock.listen('\0understudy-key-change', () => resolve(lock));
  });
}

/** Writes one host's part, on top of what was read of all. */
async function rewrite(
  store: Store,
  host: string,
  decide: (keyring: Keyring) => Promise<{ next: KeyStep; told: HostKeys | undefined }>,
): Promise<KeyStep> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const kept = await store.get(keyringKey);
    const keyring = (kept === undefined ? { hosts: {} } : JSON.parse(kept.value)) as Keyring;
    const { next, told } = await decide(keyring);
    if (told === undefined) return next;
    const hosts = { ...keyring.hosts, [host]: told };
    const unchanged: Compare =
      kept === undefined
        ? { kind: 'absent', key: keyringKey }
        : { kind: 'revision', key: keyringKey, modRevision: kept.modRevision };
    const { done } = await store.transact({
      compare: [unchanged],
      write: [put(keyringKey, { hosts })],
    });
    if (done) return next;
  }
  throw refused(host, `other hosts’ keys were changed meanwhile, ${attempts} times`, 'try again');
}

/** As before when pulse does not take them. */
async function replaceKeys(agent: AgentConfig, before: Keys, keys: Keys): Promise<void> {
  const { host, keyFile, pulseSocket } = agent;
  const names = keys.map(keyName);
  const asRead = splitKeys(Buffer.concat(keys.flatMap((key) => [key, Buffer.from('\n')])));
  if (JSON.stringify(asRead.map(keyName)) !== JSON.stringify(names)) {
    throw refused(
      host,
      'one of the keys is no line of 32 printable characters or more, so two cannot stand in a file',
      'change it in a maintenance window: write the new key everywhere, then restart pulses',
    );
  }
  writeClusterKeys(keyFile, keys);
  let cause: string;
  try {
    const { keys: told } = await askPulse(pulseSocket, 'reload-keys');
    if (JSON.stringify(told) === JSON.stringify(names)) return;
    cause = `its pulse has keys ${told?.join(', ') ?? '(it does not tell)'}: another file than ${keyFile}?`;
  } catch (thrown) {
    cause = messageOf(thrown);
  }
  writeClusterKeys(keyFile, before);
  await askPulse(pulseSocket, 'reload-keys').catch(() => undefined);
  throw refused(host, cause, `${keyFile} is as it was; see the log of understudy-pulse`);
}

/** Hosts that may hold a lease now. One that is off takes the keys along before it comes back. */
function living(view: View): readonly string[] {
  const config = configOf(view);
  if (config === undefined) return [];
  const { hosts } = statusOf(view, config, undefined, () => new Map());
  return hosts.flatMap(({ name, state }) => (state === 'up' || state === 'drained' ? [name] : []));
}
