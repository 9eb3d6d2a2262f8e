import { test } from 'tap';
import { TrafficWatch } from '../../src/agent/traffic-watch.js';
import type { MemberRate, TrafficReport } from '../../src/control/records.js';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function stage(services: number) {
  let nowMs = 0;
  let due: [number, () => void][] = [];
  const run = { reads: 0, told: 0, counted: [] as readonly TrafficReport[], fails: false };
  const watch = new TrafficWatch({
    dispatch: {
      allCounters: async () => {
        run.reads += 1;
        if (run.fails) throw new Error('a map is gone');
        return run.counted;
      },
    },
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
    log,
    services: () => services,
    onRead: () => {
      run.told += 1;
    },
  });
  const pass = async (ms: number) => {
    for (const end = nowMs + ms; ; ) {
      const next = due.filter(([at]) => at <= end).sort(([a], [b]) => a - b)[0];
      if (next === undefined) {
        nowMs = end;
        return;
      }
      due = due.filter((one) => one !== next);
      nowMs = next[0];
      next[1]();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { watch, run, pass };
}

const counted = (members: number, packets = 1, perSecond?: MemberRate): TrafficReport => ({
  service: 'web',
  received: members * packets + 3,
  forwarded: Array.from({ length: members }, (_, index) => ({
    ...{ personality: `web${index}`, packets, bytes: 60 * packets, newFlows: 1 },
    ...(perSecond === undefined ? {} : { perSecond }),
  })),
  passed: 2,
  dropped: { lease: 0, malformed: 1 },
});

test('counters are read every ten seconds, and told when they have changed', async (t) => {
  const { watch, run, pass } = stage(3);
  await pass(9_999);
  t.equal(run.reads, 0);
  await pass(1);
  t.equal(run.reads, 1);
  t.equal(run.told, 0, 'there was nothing, and there is nothing');
  run.counted = [counted(2)];
  await pass(10_000);
  await pass(10_000);
  t.equal(run.reads, 3);
  t.equal(run.told, 2, 'that it is no more than before is news, once');
  await pass(10_000);
  t.equal(run.told, 2);
  const still = { packets: 0, bytes: 0, newFlows: 0 };
  t.same(watch.traffic(), [counted(2, 1, still)]);
  run.fails = true;
  await pass(10_000);
  t.same(watch.traffic(), [counted(2, 1, still)], 'what was read last stays');
  await watch.stop();
  const { reads } = run;
  await pass(60_000);
  t.equal(run.reads, reads);
});

test('a rate is of the time between two readings, and of none where counters began anew', async (t) => {
  const { watch, run, pass } = stage(3);
  const rates = () => watch.traffic()[0]?.forwarded.map(({ perSecond }) => perSecond);
  run.counted = [counted(1, 1_000)];
  await pass(10_000);
  t.same(rates(), [undefined]);
  run.counted = [counted(1, 1_257)];
  await pass(10_000);
  t.same(rates(), [{ packets: 25.7, bytes: 1_542, newFlows: 0 }]);
  run.counted = [counted(2, 1_457)];
  await pass(10_000);
  t.same(rates(), [{ packets: 20, bytes: 1_200, newFlows: 0 }, undefined], 'one is new');
  run.counted = [counted(2, 5)];
  await pass(10_000);
  t.same(rates(), [undefined, undefined]);
  await watch.stop();
});

test('with many services it is seldom, with many members they are not told one by one', async (t) => {
  const { watch, run, pass } = stage(400);
  run.counted = [counted(300)];
  await pass(99_000);
  t.equal(run.reads, 0);
  await pass(1_000);
  t.equal(run.reads, 1);
  t.same(watch.traffic(), [{ ...counted(300), forwarded: [] }]);
  await watch.stop();
});
