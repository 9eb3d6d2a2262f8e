import { test } from 'tap';
import { HealthWatch, type Probe } from '../../src/agent/health-watch.js';
import type { HealthConfig } from '../../src/config/types.js';
import { clusterConfig, World } from '../control/world.js';

/** Timers that go when they are told to; each has one round of checks. */
class Rounds {
  readonly #due = new Set<() => void>();

  readonly timers = {
    nowMs: () => 0,
    after: (_delayMs: number, action: () => void) => {
      this.#due.add(action);
      return () => this.#due.delete(action);
    },
  };

  /** Until all that was asked has been answered. */
  async next(): Promise<void> {
    const due = [...this.#due];
    this.#due.clear();
    for (const action of due) action();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a check that is changed in the file asks anew, and keeps what was known', async (t) => {
  const configWith = (health: HealthConfig) => {
    const plain = clusterConfig();
    return { ...plain, services: plain.services.map((service) => ({ ...service, health })) };
  };
  let world = new World(configWith({ tcp: 80, everyMs: 200 }));
  const asked: unknown[] = [];
  let answers = false;
  const probe: Probe = async (_path, address, port, _timeoutMs, request) => {
    asked.push([Buffer.from(address).join('.'), port, request?.path, request?.host]);
    return answers ? undefined : `check ${asked.length} failed`;
  };
  const rounds = new Rounds();
  const changes: boolean[] = [];
  const watch = new HealthWatch({
    watch: {
      get view() {
        return world.view;
      },
    },
    probe,
    timers: rounds.timers,
    running: () => [{ name: 'web1', epoch: 1 }],
    namespacePath: (name) => `/run/netns/us-${name}`,
    onChange: () => changes.push(watch.healths()[0]?.up ?? true),
  });
  watch.look();
  watch.look();
  await rounds.next();
  t.same(asked, [['10.10.0.11', 80, undefined, undefined]], 'once, however often it looks');
  await rounds.next();
  t.same(changes, [false], 'two failures take it out');
  await rounds.next();
  t.same(
    watch.healths(),
    [{ service: 'web', personality: 'web1', epoch: 1, up: false, why: 'check 2 failed' }],
    'with the reason that took it out, whatever is said later',
  );

  world = new World(configWith({ http: 8080, path: '/healthz', everyMs: 200 }));
  watch.look();
  t.same(
    watch.healths().map(({ up }) => up),
    [false],
    'until the new check has asked',
  );
  asked.length = 0;
  answers = true;
  await rounds.next();
  t.same(asked, [['10.10.0.11', 8080, '/healthz', '10.10.0.11']], 'the old one asks no more');
  t.same(changes, [false, true]);
  t.same(watch.healths(), [{ service: 'web', personality: 'web1', epoch: 1, up: true }]);
  watch.stop();
});
