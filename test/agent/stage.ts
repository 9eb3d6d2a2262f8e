import type { Test } from 'tap';
import { ClusterWatch } from '../../src/agent/cluster-watch.js';
import { Journal } from '../../src/agent/journal.js';
import type { PulseHello, PulsePort } from '../../src/agent/pulse-port.js';
import { put } from '../../src/agent/transactions.js';
import { configKey, hostKey } from '../../src/control/keys.js';
import type { PulseEvent, PulseReply, PulseRequest } from '../../src/pulse/protocol.js';
import { MemoryStore } from '../../src/store/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import type { Store } from '../../src/store/types.js';
import { clusterConfig } from '../control/world.js';

export const quiet = { debug() {}, info() {}, warn() {}, error() {} };

/** The agent's end of pulse, played: what is asked is kept, what is answered is the test's. */
export class PlayedPulse implements PulsePort {
  readonly asked: PulseRequest[] = [];
  answer: (request: PulseRequest) => PulseReply | Promise<PulseReply> = () => ({ kind: 'ok' });
  #connected: (hello: PulseHello) => void = () => {};
  readonly #listeners: ((event: PulseEvent) => void)[] = [];
  #waiting: (() => void)[] = [];

  async request(request: PulseRequest): Promise<PulseReply> {
    this.asked.push(request);
    for (const look of this.#waiting) look();
    return await this.answer(request);
  }
  onConnect(listener: (hello: PulseHello) => void): void {
    const before = this.#connected;
    this.#connected = (hello) => {
      before(hello);
      listener(hello);
    };
  }
  onEvent(listener: (event: PulseEvent) => void): void {
    this.#listeners.push(listener);
  }

  connect(nonce: string, stopped: PulseHello['stopped'] = [], carried?: readonly string[]): void {
    const ids = { kind: 'hello', pid: 1, nonce, startedAtMs: 0, bootId: 'boot' } as const;
    const known = carried === undefined ? {} : { carried };
    this.#connected({ ...ids, enrolled: null, controlling: false, stopped, ...known });
  }
  tell(event: PulseEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
  /** Resolves with the first request of this kind that was asked, or will be. */
  async first<K extends PulseRequest['kind']>(
    kind: K,
  ): Promise<Extract<PulseRequest, { kind: K }>> {
    for (;;) {
      for (const one of this.asked) {
        if (one.kind === kind) return one as Extract<PulseRequest, { kind: K }>;
      }
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
    }
  }
}

/** A store that holds a small cluster, a watch on it and the rest of what the agent's parts take. */
export async function openStage(t: Test, host: string, store: Store = new MemoryStore()) {
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const config = clusterConfig();
  await store.transact({
    compare: [],
    write: [
      put(configKey, { generation: 1, config }),
      ...config.hosts.map(({ name }) => put(hostKey(name), { incarnation: 1, bootToken: name })),
    ],
  });
  const clock = { ms: 1_000, bootMs: () => clock.ms, unixMs: () => clock.ms };
  const watch = new ClusterWatch(store);
  const timers = systemTimers();
  const journal = new Journal({ store, clock, timers, host, log: quiet });
  t.teardown(() => journal.stop());
  const until = (condition: () => boolean) => watch.until(condition, stop.signal);
  return {
    store,
    watch,
    clock,
    timers,
    journal,
    until,
    config,
    pulse: new PlayedPulse(),
    signal: stop.signal,
  };
}
