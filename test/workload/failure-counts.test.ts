import { test } from 'tap';
import { FailureCounts, healthyMs, isWorthTelling } from '../../src/workload/failure-counts.js';

test('ends count in a row until the workload has been well for a minute', (t) => {
  const counts = new FailureCounts();
  const told: string[] = [];
  counts.onFailure((name) => told.push(name));
  t.equal(counts.of('web1', 0), undefined);
  counts.add('web1', 'exit code 1', 0);
  counts.add('web1', 'signal SIGSEGV', healthyMs);
  t.same(counts.of('web1', 2 * healthyMs), { count: 2, last: 'signal SIGSEGV' });
  t.equal(counts.of('web2', 0), undefined, 'each for itself');
  t.equal(counts.of('web1', 2 * healthyMs + 1), undefined);
  counts.add('web1', 'exit code 2', 3 * healthyMs, { times: 3 });
  t.same(counts.of('web1', 3 * healthyMs), { count: 3, last: 'exit code 2' }, 'from the beginning');
  counts.add('web1', 'timeout', 5 * healthyMs, { sinceMs: 4 * healthyMs });
  t.match(
    counts.of('web1', 5 * healthyMs),
    { count: 4 },
    'who takes long to fail was not well meanwhile',
  );
  counts.forget('web1');
  t.equal(counts.of('web1', 5 * healthyMs), undefined);
  t.same(told, ['web1', 'web1', 'web1', 'web1']);
  t.end();
});

test('ever fewer are worth an entry in the history, however many come at once', (t) => {
  const toldAt = (times: number) => {
    const counts = Array.from({ length: Math.ceil(40 / times) }, (_, at) => (at + 1) * times);
    return counts.filter((count) => isWorthTelling(count, times));
  };
  t.same(toldAt(1), [1, 2, 4, 8, 16, 32]);
  t.same(toldAt(3), [3, 6, 9, 18, 33]);
  t.same(toldAt(9), [9, 18, 36]);
  t.end();
});

test('what it says of the last one is a line, and no longer', (t) => {
  const counts = new FailureCounts();
  counts.add('web1', `Job failed.\nSee \u001b[1m"systemctl status"${'x'.repeat(100_000)}`, 0);
  const { last = '' } = counts.of('web1', 0) ?? {};
  t.match(last, /^Job failed. See {1,2}\[1m"systemctl status"x+…$/);
  t.ok(last.length <= 301, `${last.length}`);
  t.end();
});
