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
import { alone } from '../alone.js';
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
  const decide: Decide = (host, file) => acceptKey(host, file, keyName(young));
  return change(options, { step: 'accept', decide, young });
}

/** Second step, once every host accepts the new key: this one signs by it. */
export function use(options: KeyOptions): Promise<number> {
  const decide: Decide = (host, file, keyring, view) => useKey(host, file, keyring, living(view));
  return change(options, { step: 'use', decide });
}

/** Third step, once every host signs by the new key: the old one is good for nothing any more. */
export function drop(options: KeyOptions): Promise<number> {
  const decide: Decide = (host, file, keyring, view) => dropKey(host, file, keyring, living(view));
  return change(options, { step: 'drop', decide });
}

type Keys = readonly [Buffer, ...Buffer[]];
type Decide = (host: string, file: readonly string[], keyring: Keyring, view: View) => KeyStep;

interface Asked {
  readonly step: 'accept' | 'use' | 'drop';
  readonly decide: Decide;
  /** A key that is not in the file yet. */
  readonly young?: Buffer;
}

async function change(options: KeyOptions, asked: Asked): Promise<number> {
  const agent = readAgentConfig(options.config);
  const [signs = '', accepts = null] = await alone(agent.keyFile, () =>
    withCluster(options, (cluster) => carryOut(cluster, agent, asked)),
  );
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ host: agent.host, signs, accepts })}\n`
      : `${detailOf(agent.host, asked.step, [signs, ...(accepts === null ? [] : [accepts])])}\n`,
  );
  return 0;
}

/**
 * Tells the other hosts what they must know first, and only on top of what was read of them: of two steps
 * at once that would part hosts one is refused. Then writes the file, lets pulse read it, sees that it did,
 * and tells the rest.
 *
 * @returns names of the keys that this host has now
 */
async function carryOut(
  { store, view }: Cluster,
  agent: AgentConfig,
  { step, decide, young }: Asked,
): Promise<readonly string[]> {
  const { host, keyFile } = agent;
  const before = readClusterKeys(keyFile);
  const names = before.map(keyName);
  const { told, ...next } = await rewrite(store, host, async (keyring) => {
    const decided = decide(host, names, keyring, await view());
    return { ...decided, told: decided.before };
  });
  const known = new Map([...before, ...(young ? [young] : [])].map((key) => [keyName(key), key]));
  const [first, ...rest] = next.file.flatMap((name) => known.get(name) ?? []);
  if (first === undefined) throw refused(host, 'no key would be left', 'report this');
  try {
    await replaceKeys(agent, before, [first, ...rest]);
  } catch (thrown) {
    const back = { keys: names, young: (next.after ?? told)?.young ?? null };
    if (told !== undefined) await rewrite(store, host, async () => ({ told: back }));
    throw thrown;
  }
  await rewrite(store, host, async () => ({ told: next.after }));
  const change: Change = { what: 'key', subject: host, detail: detailOf(host, step, next.file) };
  await store.transact({ compare: [], write: auditOperations(personHere(), change) });
  return next.file;
}

const detailOf = (host: string, step: string, [signs, accepts]: readonly string[]): string =>
  `key ${step} on ${host}: signs by ${signs}${accepts === undefined ? '' : `, accepts ${accepts}`}`;

/** Writes one host's part, if it is told anything, on top of what was read of all. */
async function rewrite<T extends { readonly told: HostKeys | undefined }>(
  store: Store,
  host: string,
  decide: (keyring: Keyring) => Promise<T>,
): Promise<T> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const kept = await store.get(keyringKey);
    const keyring = (kept === undefined ? { hosts: {} } : JSON.parse(kept.value)) as Keyring;
    const decided = await decide(keyring);
    if (decided.told === undefined) return decided;
    const hosts = { ...keyring.hosts, [host]: decided.told };
    const unchanged: Compare =
      kept === undefined
        ? { kind: 'absent', key: keyringKey }
        : { kind: 'revision', key: keyringKey, modRevision: kept.modRevision };
    const { done } = await store.transact({
      compare: [unchanged],
      write: [put(keyringKey, { hosts })],
    });
    if (done) return decided;
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
