import { test } from 'tap';
import { commitTransaction, rewriteTransaction } from '../../src/agent/transactions.js';
import type { AssignmentRecord } from '../../src/control/records.js';

const next: AssignmentRecord = {
  host: 'h2',
  incarnation: 5,
  epoch: 2,
  state: 'assigned',
  cause: 'lease-expired',
  reason: 'for a test',
  to: null,
  failover: null,
};
const role = { kind: 'personality', name: 'web1' } as const;
const lands = [
  { kind: 'revision', key: 'hosts/h2', modRevision: 7 },
  { kind: 'absent', key: 'retired/h2/5' },
];

test('a commit lands only while its new owner is enrolled and not shut out', (t) => {
  const { compare } = commitTransaction({
    role,
    from: { host: 'h1', incarnation: 1 },
    assignmentRevision: 3,
    configRevision: 1,
    votes: [],
    toHostRevision: 7,
    next,
    record: null,
  });
  t.match(compare.slice(-2), lands);
  t.end();
});

test('so does a placement; what stays where it is asks nothing of its host', (t) => {
  const rewrite = { role, assignmentRevision: 3, configRevision: 1, next, reason: 'for a test' };
  t.match(rewriteTransaction({ ...rewrite, toHostRevision: 7 }).compare.slice(-2), lands);
  t.equal(rewriteTransaction({ ...rewrite, toHostRevision: undefined }).compare.length, 2);
  t.end();
});
