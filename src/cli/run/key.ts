import { type AgentConfig, readAgentConfig } from '../../agent/config.js';
import { put } from '../../agent/transactions.js';
import { statusOf } from '../../control/status.js';
import { configOf, type View } from '../../control/view.js';
import { messageOf, UnderstudyError } from '../../errors.js';
import { auditOperations, personHere } from '../../operate/audit.js';
import { askPulse } from '../../pulse/ask.js';
import { keyName, readClusterKeys, splitKeys, writeClusterKeys } from '../../pulse/keys.js';
import type { Store } from '../../store/types.js';
import { type Cluster, type ClusterOptions, withCluster } from '../cluster.js';

export interface KeyOptions extends ClusterOptions {
  readonly json: boolean;
  /** An agent's configuration file: of this host. */
  readonly config: string;
}

/** `keyring/<host>`: what its pulse said when its keys were changed last. */
interface KeyringRecord {
  /** Names; the one that signs first. */
  readonly keys: readonly string[];
}

const keyringKey = (host: string): string => `keyring/${host}`;

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
  return change(options, agent, 'accept', () => [signs, young]);
}

/** Second step, once every host accepts the new key: this one signs by it. */
export async function use(options: KeyOptions): Promise<number> {
  const agent = readAgentConfig(options.config);
  const [old, young] = keysOf(agent);
  // A host that came later with the new key alone: it is only told to the others.
  if (young === undefined) return change(options, agent, 'use', () => [old]);
  const name = keyName(young);
  return change(options, agent, 'use', (view, keyrings) => {
    const missing = living(view).filter((host) => !keyrings.get(host)?.includes(name));
    if (missing.length > 0) {
      const cause = `${missing.join(', ')} would not understand it`;
      throw refused(agent.host, cause, 'there first: understudy key accept FILE');
    }
    return [young, old];
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
  return change(options, agent, 'drop', (view, keyrings) => {
    const others = living(view).filter((host) => host !== agent.host);
    const missing = others.filter((host) => keyrings.get(host)?.[0] !== name);
    if (missing.length > 0) {
      const cause = `${missing.join(', ')} signs by the other key`;
      throw refused(agent.host, cause, 'there first: understudy key use');
    }
    return [signs];
  });
}

type Keys = readonly [Buffer, ...Buffer[]];
type Keyrings = ReadonlyMap<string, readonly string[]>;

/** Writes the file, lets pulse read it, sees that it did, and tells the other hosts of it. */
async function change(
  options: KeyOptions,
  agent: AgentConfig,
  step: 'accept' | 'use' | 'drop',
  decide: (view: View, keyrings: Keyrings) => Keys,
): Promise<number> {
  const { host, keyFile } = agent;
  return withCluster(options, async (cluster: Cluster) => {
    const before = readClusterKeys(keyFile);
    const keys = decide(await cluster.view(), await keyringsOf(cluster.store));
    const names = keys.map(keyName);
    await replaceKeys(agent, before, keys);
    const record: KeyringRecord = { keys: names };
    const detail = `key ${step} on ${host}: signs by ${names[0]}${names[1] === undefined ? '' : `, accepts ${names[1]}`}`;
    await cluster.store.transact({
      compare: [],
      write: [
        put(keyringKey(host), record),
        ...auditOperations(personHere(), { what: 'key', subject: host, detail }),
      ],
    });
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ host, signs: names[0], accepts: names[1] ?? null })}\n`
        : `${detail}\n`,
    );
    return 0;
  });
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

async function keyringsOf(store: Store): Promise<Keyrings> {
  const { entries } = await store.list('keyring/');
  return new Map(
    entries.map(({ key, value }) => {
      const { keys } = JSON.parse(value) as KeyringRecord;
      return [key.slice('keyring/'.length), keys];
    }),
  );
}

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
