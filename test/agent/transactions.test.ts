import { test } from 'tap';
import {
  closingTransaction,
  commitTransaction,
  rewriteTransaction,
  voteTransaction,
} from '../../src/agent/transactions.js';
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
const same = (one: object, other: object) => JSON.stringify(one) === JSON.stringify(other);
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

test('a vote with its commits compares all that each of them does, and writes all of it', (t) => {
  const from = { host: 'h1', incarnation: 1 };
  const commit = {
    role,
    from,
    assignmentRevision: 3,
    configRevision: 1,
    votes: [{ controller: 'h3', revision: 9, lastAckAgoMs: 202, atMs: 900, bootId: 'boot' }],
    toHostRevision: 7,
    next,
    record: null,
  };
  const other = { ...commit, role: { ...role, name: 'web2' }, assignmentRevision: 4 };
  const slot = { me: 'h2', nonce: 'n1', ...from, mine: undefined };
  const vote = { state: 'expired', lastAckAgoMs: 202, atMs: 900, bootId: 'boot' } as const;
  const { compare, write } = closingTransaction(slot, vote, [commit, other]);
  for (const part of [voteTransaction(slot, vote), ...[commit, other].map(commitTransaction)]) {
    for (const one of part.compare)
      t.ok(
        compare.some((two) => same(one, two)),
        one.key,
      );
    for (const one of part.write)
      t.ok(
        write.some((two) => same(one, two)),
        one.key,
      );
  }
  const keys = write.map(({ key }) => key);
  t.equal(new Set(keys).size, keys.length, 'a store takes each key once');
  t.notOk(
    compare.some(({ kind, key }) => kind === 'revision' && key === keys[0]),
    'the own vote',
  );
  t.end();
});

test('so does a placement; what stays where it is asks nothing of its host', (t) => {
  const rewrite = { role, assignmentRevision: 3, configRevision: 1, next, reason: 'for a test' };
  t.match(rewriteTransaction({ ...rewrite, toHostRevision: 7 }).compare.slice(-2), lands);
  t.equal(rewriteTransaction({ ...rewrite, toHostRevision: undefined }).compare.length, 2);
  t.end();
});
