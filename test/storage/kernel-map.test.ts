import { test } from 'tap';
import { failedPaths, tableOf } from '../../src/storage/kernel-map.js';

test('the table of a map', (t) => {
  t.equal(
    tableOf(['8:0', '8:16']),
    '1 queue_if_no_path 0 1 1 service-time 0 2 1 8:0 1 8:16 1',
    'writes wait where there is no path',
  );
  t.end();
});

test('paths that the kernel took away', (t) => {
  const status = (first: string, second: string) =>
    `2 0 0 0 1 1 A 0 2 2 8:0 ${first} 0 0 1 8:16 ${second} 1 0 1 `;
  t.same(failedPaths(status('A', 'A')), []);
  t.same(failedPaths(status('F', 'A')), ['8:0']);
  t.same(failedPaths(status('F', 'F')), ['8:0', '8:16']);
  t.same(failedPaths('2 0 0 0 1 1 A 0 1 2 66:160 F'), ['66:160']);
  t.end();
});
