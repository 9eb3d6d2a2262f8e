import { test } from 'tap';
import { TrafficWatch } from '../../src/agent/traffic-watch.js';
import type { TrafficReport } from '../../src/control/records.js';

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

const counted = (members: number, packets = 1): TrafficReport => ({
  service: 'web',
  received: members * packets + 3,
  forwarded: Array.from({ length: members }, (_, index) => ({
    ...{ personality: `web${index}`, packets, bytes: 60 * packets, newFlows: 1 },
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
  t.equal(run.told, 1);
  t.same(watch.traffic(), run.counted);
  run.fails = true;
  await pass(10_000);
  t.same(watch.traffic(), [counted(2)], 'what was read last stays');
  await watch.stop();
  const { reads } = run;
  await pass(60_000);
  t.equal(run.reads, reads);
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
