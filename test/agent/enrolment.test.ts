import { type Test, test } from 'tap';
import { ClusterWatch } from '../../src/agent/cluster-watch.js';
import { Enrolment } from '../../src/agent/enrolment.js';
import { Journal } from '../../src/agent/journal.js';
import type { Log } from '../../src/agent/loop.js';
import type { PulseHello, PulsePort } from '../../src/agent/pulse-port.js';
import {
  configKey,
  controllerSetsKey,
  hostKey,
  reportKey,
  retiredKey,
} from '../../src/control/keys.js';
import type { ControllersRecord, ReportRecord } from '../../src/control/records.js';
import type { PulseEvent, PulseReply, PulseRequest } from '../../src/pulse/protocol.js';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import { clusterConfig } from '../control/world.js';

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };
const hello: PulseHello = {
  kind: 'hello',
  pid: 1,
  nonce: '0'.repeat(32),
  startedAtMs: 0,
  bootId: 'boot',
  enrolled: null,
  controlling: false,
  stopped: [],
};

/** A pulse as strict as the real one: no second incarnation beside one whose lease it renews. */
class FakePulse implements PulsePort {
  readonly orders: string[] = [];
  #held: number | undefined;
  readonly #waiting = new Map<string, () => void>();
  #listener: (event: PulseEvent) => void = () => {};

  /** Electorates that it was told to count by. */
  readonly electorates: unknown[] = [];
  /** What it says it holds. */
  holding: { readonly incarnation: number; readonly set: number } | undefined;

  constructor(held?: number) {
    this.#held = held;
  }

  async request(request: PulseRequest): Promise<PulseReply> {
    const reply = this.#answer(request);
    if (reply.kind === 'ok') {
      const done = request.kind === 'enrol' ? `enrol ${request.incarnation}` : request.kind;
      this.orders.push(done);
      this.#waiting.get(done)?.();
    }
    return reply;
  }

  #answer(request: PulseRequest): PulseReply {
    if (request.kind === 'retire') this.#held = undefined;
    if (request.kind !== 'enrol') return { kind: 'ok' };
    if (this.#held !== undefined && this.#held !== request.incarnation) {
      return { kind: 'error', code: 'US_PULSE_LEASE_RUNNING', message: 'not retired' };
    }
    this.#held = request.incarnation;
    this.electorates.push(request.electorate);
    return { kind: 'ok' };
  }

  onConnect(listener: (hello: PulseHello) => void): void {
    const enrolled = this.holding === undefined ? null : { host: 'h1', ...this.holding };
    listener({ ...hello, enrolled });
  }

  /** As pulse does after hello: before its agent has read which incarnation this host has. */
  onEvent(listener: (event: PulseEvent) => void): void {
    this.#listener = listener;
    if (this.holding !== undefined) {
      listener({ kind: 'lease-held', deadlineMs: 1, ...this.holding });
    }
  }

  tell(event: PulseEvent): void {
    this.#listener(event);
  }

  /** The next time that it is done. */
  next(what: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.set(what, resolve));
  }

  done(what: string): Promise<void> {
    if (this.orders.includes(what)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.set(what, resolve));
  }
}

async function agentOf(
  t: Test,
  pulse: FakePulse,
  before: { readonly incarnation: number; readonly bootToken: string; readonly retired?: boolean },
  controllers?: ControllersRecord,
  report?: ReportRecord,
) {
  const store = new MemoryStore(new MemoryBackend());
  const put = (key: string, value: object) =>
    store.transact({ compare: [], write: [{ kind: 'put', key, value: JSON.stringify(value) }] });
  await put(configKey, { generation: 1, config: clusterConfig(), controllers });
  const { incarnation, bootToken, retired } = before;
  if (incarnation > 0) await put(hostKey('h1'), { incarnation, bootToken, enforced: true });
  if (retired) await put(retiredKey('h1', incarnation), {});
  if (report !== undefined) await put(reportKey('h1'), report);
  const watch = new ClusterWatch(store);
  const timers = systemTimers();
  const clock = { bootMs: () => 0, unixMs: () => 0 };
  const did: string[] = [];
  const enrolment = new Enrolment({
    host: 'h1',
    bootToken: 'this boot',
    pulsePort: 7411,
    store,
    watch,
    pulse,
    maps: {
      prepare: (number) => `/lease-${number}`,
      forget: (number) => did.push(`forget ${number}`),
    },
    journal: new Journal({ store, clock, timers, host: 'h1', log: quiet }),
    log: quiet,
    timers,
    dropEverything: async () => {
      did.push('drop');
    },
    onHeld: () => did.push(`leased ${enrolment.leased}`),
    onIncarnation: (number) => did.push(`incarnation ${number}`),
  });
  enrolment.start();
  const stop = new AbortController();
  watch.start(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await enrolment.stop();
  });
  return { did, store, put, enrolment };
}

const other = { incarnation: 1, bootToken: '', enforced: true };

test('a host counts by other controllers once enough of them have read of it', async (t) => {
  const pulse = new FakePulse(4);
  const { put } = await agentOf(t, pulse, { incarnation: 4, bootToken: 'this boot' });
  await pulse.done('enrol 4');
  const [old, next] = [clusterConfig().controllers, ['h1', 'h2', 'h4']];
  const config = clusterConfig({ controllers: next });
  await put(configKey, { generation: 2, config, controllers: { set: 1, since: 0, from: old } });
  for (const name of ['h2', 'h3', 'h4']) await put(hostKey(name), other);
  for (const name of ['h4', 'h3', 'h1']) {
    await put(controllerSetsKey(name), { accepts: 1, refusesBelow: 0 });
  }
  t.same(pulse.electorates, [undefined], 'h2 has not read of it');
  const moved = pulse.next('enrol 4');
  await put(controllerSetsKey('h2'), { accepts: 1, refusesBelow: 0 });
  await moved;
  t.same(pulse.electorates, [undefined, { set: 1, sets: [old, next] }]);
});

test('an agent that restarts in the middle of a change knows what its pulse holds', async (t) => {
  const pulse = new FakePulse(4);
  pulse.holding = { incarnation: 4, set: 1 };
  const before = { incarnation: 4, bootToken: 'this boot' };
  const { enrolment, put } = await agentOf(t, pulse, before, {
    set: 1,
    since: 0,
    from: ['h2', 'h3', 'h4'],
  });
  await pulse.done('enrol 4');
  t.equal(enrolment.heldSet, 1);
  for (const name of ['h2', 'h3']) await put(hostKey(name), other);
  const final = {
    generation: 2,
    config: clusterConfig(),
    controllers: { set: 2, since: 1, from: null },
  };
  await put(configKey, final);
  t.equal(pulse.electorates.length, 1, 'not moved before the new ones have read of it');
  const moved = pulse.next('enrol 4');
  for (const name of ['h1', 'h2', 'h3']) {
    await put(controllerSetsKey(name), { accepts: 2, refusesBelow: 0 });
  }
  await moved;
  t.match(pulse.electorates[1], { set: 2 });
});

test('an agent that restarts takes back nothing that was reported, while pulse says nothing', async (t) => {
  const pulse = new FakePulse(4);
  const before = { incarnation: 4, bootToken: 'this boot' };
  const said = { leased: true, set: 2, personalities: [], services: [], health: [] };
  const controllers = { set: 2, since: 1, from: null };
  for (const [incarnation, held] of [
    [4, 2],
    [3, 0],
  ] as const) {
    const { enrolment } = await agentOf(t, pulse, before, controllers, { incarnation, ...said });
    await pulse.next('enrol 4');
    t.same([enrolment.heldSet, enrolment.leased], [held, held > 0], `said by ${incarnation}`);
  }
});

test('an incarnation names the lowest set of controllers that it will count by', async (t) => {
  for (const [controllers, set] of [
    [undefined, undefined],
    [{ set: 1, since: 0, from: ['h2', 'h3', 'h4'] }, undefined],
    [{ set: 3, since: 1, from: ['h2', 'h3', 'h4'] }, 2],
    [{ set: 4, since: 3, from: null }, 4],
  ] as const) {
    const pulse = new FakePulse();
    const { store } = await agentOf(t, pulse, { incarnation: 0, bootToken: '' }, controllers);
    await pulse.done('enrol 1');
    t.equal(JSON.parse((await store.get(hostKey('h1')))?.value ?? '').set, set);
  }
});

test('a host that was never here enrols as its first incarnation', async (t) => {
  const pulse = new FakePulse();
  const { did } = await agentOf(t, pulse, { incarnation: 0, bootToken: '' });
  await pulse.done('enrol 1');
  t.same(did, ['drop', 'forget 1', 'incarnation 1']);
});

test('a deadline that another cluster left under the same number is nobody’s', async (t) => {
  const pulse = new FakePulse();
  const { did } = await agentOf(t, pulse, { incarnation: 0, bootToken: '' });
  await pulse.done('enrol 1');
  // Else NICs of that cluster, which go by that map, would pass frames again.
  t.ok(did.indexOf('forget 1') > did.indexOf('drop'), 'once all of this cluster is gone');
  t.ok(did.indexOf('forget 1') < did.indexOf('incarnation 1'), 'and before it may be used');
  t.ok(did.includes('forget 1'));
});

test('a lease that was held says so of its own incarnation only', async (t) => {
  const pulse = new FakePulse();
  const { did, enrolment, put } = await agentOf(t, pulse, { incarnation: 0, bootToken: '' });
  await pulse.done('enrol 1');
  t.equal(enrolment.leased, false);
  for (const deadlineMs of [1, 2]) pulse.tell({ kind: 'lease-held', incarnation: 1, deadlineMs });
  t.equal(enrolment.leased, true);
  t.same(did, ['drop', 'forget 1', 'incarnation 1', 'leased true'], 'told once');
  await put(retiredKey('h1', 1), {});
  await pulse.done('enrol 2');
  t.equal(enrolment.leased, false);
  pulse.tell({ kind: 'lease-held', incarnation: 1, deadlineMs: 3 });
  t.equal(enrolment.leased, false, 'late news of the one before');
});

test('an agent that restarts within a boot goes on, and lets go of nothing', async (t) => {
  const pulse = new FakePulse(4);
  const { did } = await agentOf(t, pulse, { incarnation: 4, bootToken: 'this boot' });
  await pulse.done('enrol 4');
  t.same(did, ['incarnation 4']);
});

test('an agent that finds its incarnation retired ends what pulse still does for it', async (t) => {
  const pulse = new FakePulse(4);
  const before = { incarnation: 4, bootToken: 'this boot', retired: true };
  const { did } = await agentOf(t, pulse, before);
  await pulse.done('enrol 5');
  t.same(did, ['drop', 'forget 4', 'forget 5', 'incarnation 5']);
  t.same(pulse.orders, ['retire', 'enrol 5']);
});

test('a pulse that outlived the boot token does not keep the old incarnation alive', async (t) => {
  const pulse = new FakePulse(4);
  await agentOf(t, pulse, { incarnation: 4, bootToken: 'a token that is lost' });
  await pulse.done('enrol 5');
  t.same(pulse.orders, ['retire', 'enrol 5']);
});

test('an expelled incarnation lets go of everything before the next one enrols', async (t) => {
  const pulse = new FakePulse(4);
  const { did, store } = await agentOf(t, pulse, { incarnation: 4, bootToken: 'this boot' });
  await pulse.done('enrol 4');
  await store.transact({
    compare: [],
    write: [{ kind: 'put', key: retiredKey('h1', 4), value: '{}' }],
  });
  await pulse.done('enrol 5');
  t.same(did, ['incarnation 4', 'drop', 'forget 4', 'forget 5', 'incarnation 5']);
  t.match(JSON.parse((await store.get(hostKey('h1')))?.value ?? ''), { incarnation: 5 });
});
