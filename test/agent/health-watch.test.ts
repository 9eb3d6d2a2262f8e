import { test } from 'tap';
import { HealthWatch, type Probe } from '../../src/agent/health-watch.js';
import type { HealthConfig } from '../../src/config/types.js';
import type { ScriptCheck } from '../../src/dispatch/script-check.js';
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
    script: async () => undefined,
    timers: rounds.timers,
    running: () => [{ name: 'web1', epoch: 1 }],
    namespacePath: (name) => `/run/netns/us-${name}`,
    onChange: () => changes.push(watch.healths()[0]?.up ?? true),
    onStep: () => {},
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

test('a script is told of its member, is not asked twice at a time, and ends with the check', async (t) => {
  const plain = clusterConfig();
  const health: HealthConfig = { script: ['/usr/lib/check', '-x'], everyMs: 2_000 };
  const world = new World({
    ...plain,
    services: plain.services.map((service) => ({ ...service, health })),
  });
  const asked: [ScriptCheck, AbortSignal][] = [];
  const answers: ((why: string | undefined) => void)[] = [];
  const rounds = new Rounds();
  let running = [{ name: 'web1', epoch: 3 }];
  const watch = new HealthWatch({
    watch: world,
    probe: async () => 'nobody is to be asked by TCP',
    script: (check, signal) => {
      asked.push([check, signal]);
      return new Promise((resolve) => answers.push(resolve));
    },
    timers: rounds.timers,
    running: () => running,
    namespacePath: (name) => `/run/netns/us-${name}`,
    onChange: () => {},
    onStep: () => {},
  });
  watch.look();
  await rounds.next();
  await rounds.next();
  t.equal(asked.length, 1);
  const [[check, signal] = []] = asked;
  t.match(check, {
    id: 'web/web1',
    namespacePath: '/run/netns/us-web1',
    command: ['/usr/lib/check', '-x'],
    timeoutMs: 2_000,
  });
  const service = plain.services.find(({ name }) => name === 'web');
  const nic = plain.personalities.find(({ name }) => name === 'web1')?.networks[0];
  t.same(check?.environment, {
    UNDERSTUDY_SERVICE: 'web',
    UNDERSTUDY_SERVICE_ADDRESS: service?.addresses.join(' '),
    UNDERSTUDY_SERVICE_PORTS: 'tcp/80',
    UNDERSTUDY_PERSONALITY: 'web1',
    UNDERSTUDY_EPOCH: '3',
    UNDERSTUDY_MEMBER_ADDRESS: '10.10.0.11',
    UNDERSTUDY_MEMBER_MAC: nic?.mac,
  });
  answers[0]?.('script: exit code 2: full');
  await rounds.next();
  await rounds.next();
  answers[1]?.('script: exit code 2: full');
  await rounds.next();
  t.match(watch.healths(), [{ up: false, why: 'script: exit code 2: full' }], 'after two');
  t.equal(signal?.aborted, false);
  running = [];
  watch.look();
  t.equal(asked.at(-1)?.[1].aborted, true, 'killed when its member runs here no more');
});

test('a member that comes back gets its weight step by step, and loses the steps when it fails', async (t) => {
  const plain = clusterConfig();
  const health: HealthConfig = { tcp: 80, everyMs: 200 };
  const world = new World({
    ...plain,
    services: plain.services.map((service) => ({ ...service, health, slowStartMs: 8_000 })),
  });
  let nowMs = 0;
  let due: [number, () => void][] = [];
  const pass = async (ms: number) => {
    for (const end = nowMs + ms; ; ) {
      const next = due.filter(([at]) => at <= end).sort(([a], [b]) => a - b)[0];
      nowMs = next?.[0] ?? end;
      if (next === undefined) return;
      due = due.filter((one) => one !== next);
      next[1]();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  let answers = true;
  const told: (number | undefined)[] = [];
  const tell = () => told.push(watch.healths()[0]?.step);
  const watch: HealthWatch = new HealthWatch({
    watch: world,
    probe: async () => (answers ? undefined : 'connect: ECONNREFUSED'),
    script: async () => undefined,
    timers: {
      nowMs: () => nowMs,
      after: (delayMs, action) => {
        const one: [number, () => void] = [nowMs + delayMs, action];
        due.push(one);
        return () => {
          due = due.filter((other) => other !== one);
        };
      },
    },
    running: () => [{ name: 'web1', epoch: 1 }],
    namespacePath: (name) => `/run/netns/us-${name}`,
    onChange: tell,
    onStep: tell,
  });
  watch.look();
  await pass(1_000);
  t.same(told, [], 'one that begins is no one that comes back');
  answers = false;
  await pass(1_000);
  answers = true;
  await pass(3_500);
  t.same(told, [undefined, 1, 2, 3, 4]);
  answers = false;
  await pass(1_000);
  t.equal(watch.healths()[0]?.step, undefined);
  answers = true;
  await pass(20_000);
  t.same(told.slice(5), [undefined, 1, 2, 3, 4, 5, 6, 7, undefined]);
  answers = false;
  await pass(1_000);
  answers = true;
  await pass(2_000);
  watch.stop();
  t.equal(due.length, 0, 'nothing waits any more');
});

test('of several dispatchers of a service one check does, under the service’s own name', async (t) => {
  const plain = clusterConfig();
  const services = plain.services.flatMap((service) =>
    ['web-1', 'web-2'].map((name) => ({
      ...service,
      name,
      group: 'web',
      health: { tcp: 80, everyMs: 200 },
    })),
  );
  const world = new World({ ...plain, services });
  let asked = 0;
  const rounds = new Rounds();
  const watch = new HealthWatch({
    watch: world,
    probe: async () => {
      asked += 1;
      return undefined;
    },
    script: async () => undefined,
    timers: rounds.timers,
    running: () => [{ name: 'web1', epoch: 1 }],
    namespacePath: (name) => name,
    onChange: () => {},
    onStep: () => {},
  });
  watch.look();
  await rounds.next();
  t.equal(asked, 1);
  t.match(watch.healths(), [{ service: 'web', personality: 'web1' }]);
  t.equal(watch.healths().length, 1);
  watch.stop();
});
