import { type Test, test } from 'tap';
import { LongerLease } from '../../src/agent/longer-lease.js';
import { put } from '../../src/agent/transactions.js';
import { longerKey } from '../../src/control/keys.js';
import type { LongerLeaseRecord } from '../../src/control/records.js';
import type { PulseReply, PulseRequest } from '../../src/pulse/protocol.js';
import { openStage, quiet } from './stage.js';

const record: LongerLeaseRecord = { incarnation: 1, nonce: 'n1', leaseMs: 10_000 };

/** Lets what was answered be taken. */
const turns = async () => {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** Host h4 as incarnation 1, whose pulse n1 runs. */
async function openHost(t: Test) {
  const stage = await openStage(t, 'h4');
  const { store, watch, pulse, clock, journal, timers, signal } = stage;
  const asked: number[] = [];
  let deadlineMs = 0;
  pulse.answer = (request: PulseRequest): PulseReply => {
    if (request.kind === 'lengthen') asked.push(request.leaseMs);
    if (request.kind !== 'status') return { kind: 'ok' };
    const nowMs = clock.bootMs();
    return { kind: 'status', nonce: '', held: true, nowMs, deadlineMs, hosts: [], counters: {} };
  };
  let incarnation = 1;
  const parts = { host: 'h4', store, watch, pulse, clock, journal, timers, log: quiet };
  const longer = new LongerLease({ ...parts, incarnation: () => incarnation });
  t.teardown(() => longer.stop());
  longer.start();
  watch.start(signal);
  pulse.connect('n1');
  return {
    ...stage,
    longer,
    asked,
    write: (one: LongerLeaseRecord) =>
      store.transact({ compare: [], write: [put(longerKey('h4'), one)] }),
    there: () => watch.view.longer.has('h4'),
    leaseEnds: (atMs: number) => {
      deadlineMs = atMs;
    },
    becomes: (next: number) => {
      incarnation = next;
    },
  };
}

test('pulse asks for what was written down, until another pulse runs', async (t) => {
  const { pulse, asked, write, until, there, leaseEnds, clock, longer } = await openHost(t);
  leaseEnds(11_000);
  await write(record);
  await pulse.first('lengthen');
  await turns();
  t.same(asked, [10_000]);
  pulse.asked.length = 0;
  pulse.connect('n2');
  await pulse.first('status');
  t.same(asked, [10_000], 'the new pulse is asked for nothing');
  t.ok(there(), 'while the longer lease runs');
  clock.ms = 11_000;
  leaseEnds(11_150);
  pulse.asked.length = 0;
  longer.look();
  await pulse.first('status');
  await turns();
  t.ok(there(), 'the last of it may be as near as an ordinary one');
  clock.ms = 11_400;
  longer.look();
  await until(() => !there());
});

test('a restart that was planned and does not come is given up', async (t) => {
  const { pulse, asked, write, until, there, clock, longer } = await openHost(t);
  await write(record);
  await pulse.first('lengthen');
  await turns();
  clock.ms += 30_000;
  longer.look();
  await pulse.first('status');
  await turns();
  t.same(asked, [10_000, 0]);
  clock.ms += 400;
  pulse.asked.length = 0;
  longer.look();
  await pulse.first('status');
  await turns();
  t.ok(there(), 'one controller alone may have given it: the deadline does not show that');
  clock.ms += 10_000;
  longer.look();
  await until(() => !there());
});

test('what was written for an incarnation before this one is removed', async (t) => {
  const { asked, write, until, there, becomes, watch } = await openHost(t);
  becomes(2);
  await write(record);
  await until(() => watch.known && !there());
  t.same(asked, []);
});
