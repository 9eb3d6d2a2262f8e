import { type AgentConfig, readAgentConfig } from '../../agent/config.js';
import { put } from '../../agent/transactions.js';
import { statusOf } from '../../control/status.js';
import { configOf, type View } from '../../control/view.js';
import { messageOf, UnderstudyError } from '../../errors.js';
import { auditOperations, type Change, personHere } from '../../operate/audit.js';
import { askPulse } from '../../pulse/ask.js';
import { keyName, readClusterKeys, splitKeys, writeClusterKeys } from '../../pulse/keys.js';
import type { Compare, Store } from '../../store/types.js';
import { type Cluster, type ClusterOptions, withCluster } from '../cluster.js';

export interface KeyOptions extends ClusterOptions {
  readonly json: boolean;
  /** An agent's configuration file: of this host. */
  readonly config: string;
}

/** Which keys the pulse of a host has, or is about to have. */
interface HostKeys {
  /** Names; the one that signs first. */
  readonly keys: readonly string[];
  /** Of them the one that was accepted last: what `use` is about, however often it is called. */
  readonly young: string | null;
}

/** One key of the store for all hosts, so that one comparison speaks for all. */
const keyringKey = 'keyring';

interface Keyring {
  readonly hosts: Readonly<Record<string, HostKeys>>;
}

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
export async function accept(options: KeyOptions & { readonly file: string }): Promise<number> {
  const agent = readAgentConfig(options.config);
  const [young] = readClusterKeys(options.file);
  const [signs] = readClusterKeys(agent.keyFile);
  if (young.equals(signs)) {
    throw refused(agent.host, 'it signs by this key already', 'nothing is to be done here');
  }
  const file = keysOf(agent);
  if (file.length > 1 && !file[1]?.equals(young)) {
    throw refused(
      agent.host,
      'another change of keys is not over',
      'end that one first: understudy key drop',
    );
  }
  return change(options, agent, 'accept', () => [signs, young], keyName(young));
}

/** Second step, once every host accepts the new key: this one signs by it. */
export async function use(options: KeyOptions): Promise<number> {
  const agent = readAgentConfig(options.config);
  const [signs, other] = keysOf(agent);
  return change(options, agent, 'use', (view, keyring) => {
    // A host that came later with the new key alone is only told to the others; and one that signs by
    // the new key already does not go back, when a call before this one was cut short.
    const young = keyring.hosts[agent.host]?.young;
    if (other === undefined) return [signs];
    if (young === keyName(signs)) return [signs, other];
    const name = keyName(other);
    const missing = living(view).filter((host) => !keyring.hosts[host]?.keys.includes(name));
    if (missing.length > 0) {
      const cause = `${missing.join(', ')} would not understand it`;
      throw refused(agent.host, cause, 'there first: understudy key accept FILE');
    }
    return [other, signs];
  });
}

/** Third step, once every host signs by the new key: the old one is good for nothing any more. */
export async function drop(options: KeyOptions): Promise<number> {
  const agent = readAgentConfig(options.config);
  const [signs, other] = keysOf(agent);
  if (other === undefined) {
    throw refused(agent.host, 'it has one key only', 'nothing is to be done here');
  }
  const name = keyName(signs);
  return change(options, agent, 'drop', (view, keyring) => {
    const others = living(view).filter((host) => host !== agent.host);
    const missing = others.filter((host) => keyring.hosts[host]?.keys[0] !== name);
    if (missing.length > 0) {
      const cause = `${missing.join(', ')} signs by the other key`;
      throw refused(agent.host, cause, 'there first: understudy key use');
    }
    return [signs];
  });
}

type Keys = readonly [Buffer, ...Buffer[]];

/**
 * Tells the other hosts first, and only on top of what was read of them: of two steps at once that would
 * part hosts one is refused. Then writes the file, lets pulse read it, and sees that it did.
 */
async function change(
  options: KeyOptions,
  agent: AgentConfig,
  step: 'accept' | 'use' | 'drop',
  decide: (view: View, keyring: Keyring) => Keys,
  accepted?: string,
): Promise<number> {
  const { host, keyFile } = agent;
  return withCluster(options, async ({ store, view }: Cluster) => {
    const before = readClusterKeys(keyFile);
    const young = (keyring: Keyring) => accepted ?? keyring.hosts[host]?.young ?? null;
    let keys: Keys = before;
    const told = await rewrite(store, host, async (keyring) => {
      keys = decide(await view(), keyring);
      const names = keys.map(keyName);
      return { keys: names, young: names.length === 1 ? null : young(keyring) };
    });
    const [signs = '', accepts = null] = told.keys;
    try {
      await replaceKeys(agent, before, keys);
    } catch (thrown) {
      await rewrite(store, host, async (keyring) => ({
        keys: before.map(keyName),
        young: young(keyring),
      }));
      throw thrown;
    }
    const detail = `key ${step} on ${host}: signs by ${signs}${accepts === null ? '' : `, accepts ${accepts}`}`;
    const change: Change = { what: 'key', subject: host, detail };
    await store.transact({ compare: [], write: auditOperations(personHere(), change) });
    process.stdout.write(
      options.json ? `${JSON.stringify({ host, signs, accepts })}\n` : `${detail}\n`,
    );
    return 0;
  });
}

/** Writes one host's part, on top of what was read of all. */
async function rewrite(
  store: Store,
  host: string,
  next: (keyring: Keyring) => Promise<HostKeys>,
): Promise<HostKeys> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const kept = await store.get(keyringKey);
    const keyring = (kept === undefined ? { hosts: {} } : JSON.parse(kept.value)) as Keyring;
    const own = await next(keyring);
    const hosts = { ...keyring.hosts, [host]: own };
    const unchanged: Compare =
      kept === undefined
        ? { kind: 'absent', key: keyringKey }
        : { kind: 'revision', key: keyringKey, modRevision: kept.modRevision };
    const { done } = await store.transact({
      compare: [unchanged],
      write: [put(keyringKey, { hosts })],
    });
    if (done) return own;
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

const keysOf = (agent: AgentConfig): Keys => readClusterKeys(agent.keyFile);

/** Hosts that may hold a lease now. One that is off takes the keys along before it comes back. */
function living(view: View): readonly string[] {
  const config = configOf(view);
  if (config === undefined) return [];
  const { hosts } = statusOf(view, config, undefined, () => new Map());
  return hosts.flatMap(({ name, state }) => (state === 'up' || state === 'drained' ? [name] : []));
}

function refused(object: string, cause: string, remedy: string): UnderstudyError {
  const action = 'cannot change the cluster key on';
  return new UnderstudyError({ code: 'US_KEY_REFUSED', action, object, cause, remedy });
}
