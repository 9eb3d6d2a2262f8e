import { test } from 'tap';
import { FailureCounts, healthyMs } from '../../src/workload/failure-counts.js';

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
  counts.add('web1', 'exit code 2', 3 * healthyMs, 3);
  t.same(counts.of('web1', 3 * healthyMs), { count: 3, last: 'exit code 2' }, 'from the beginning');
  counts.forget('web1');
  t.equal(counts.of('web1', 3 * healthyMs), undefined);
  t.same(told, ['web1', 'web1', 'web1']);
  t.end();
});
