import { test } from 'tap';
import { Reporter } from '../../src/agent/reporter.js';
import type { ReportRecord } from '../../src/control/records.js';
import { MemoryStore } from '../../src/store/memory.js';

test('while a role starts its report waits; what decides where flows go does not', async (t) => {
  const store = new MemoryStore();
  const due: (() => void)[] = [];
  const report: ReportRecord = {
    incarnation: 1,
    personalities: [{ name: 'web2', epoch: 1, phase: 'starting', detail: '', volumes: [] }],
    services: [],
    health: [{ service: 'web', personality: 'web1', epoch: 1, up: false }],
  };
  const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const reporter = new Reporter({
    host: 'h1',
    store,
    log: silent,
    timers: {
      nowMs: () => 0,
      after: (_delayMs, action) => {
        due.push(action);
        return () => {};
      },
    },
    report: () => report,
  });
  const written = async () => (await store.get('report/h1'))?.value;
  reporter.look();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(due.length, 1);
  t.equal(await written(), undefined, 'a start is told later');
  reporter.now();
  await reporter.stop();
  t.equal(await written(), JSON.stringify(report));
});
