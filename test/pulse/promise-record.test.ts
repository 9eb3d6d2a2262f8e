import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { PromiseRecord, recordFile } from '../../src/pulse/promise-record.js';

test('a start waits for the longest promise of the process before', async (t) => {
  const path = join(t.testdir(), 'promises');
  const first = new PromiseRecord(recordFile(path), 'boot-1', 1_000n);
  t.equal(first.renew(400n, 1_100n), 1_400n, 'nothing inherited: one own promise');
  t.equal(statSync(path).mode & 0o777, 0o600);

  const second = new PromiseRecord(recordFile(path), 'boot-1', 2_000n);
  t.equal(second.renew(200n, 2_050n), 2_400n, 'leases were longer before');

  const third = new PromiseRecord(recordFile(path), 'boot-1', 2_100n);
  t.equal(third.renew(200n, 2_150n), 2_500n, 'and may be still, of the first process');
  t.equal(third.renew(200n, 3_000n), 2_500n);
  t.equal(
    new PromiseRecord(recordFile(path), 'boot-1', 4_000n).renew(200n, 4_000n),
    4_200n,
    'all over now',
  );
  t.equal(
    new PromiseRecord(recordFile(path), 'boot-2', 10n).renew(100n, 20n),
    110n,
    'another boot',
  );
});

test('a lease made shorter stays on record while longer promises run', async (t) => {
  const path = join(t.testdir(), 'promises');
  const first = new PromiseRecord(recordFile(path), 'boot', 0n);
  first.renew(900n, 0n);
  first.renew(200n, 1_000n);
  t.equal(new PromiseRecord(recordFile(path), 'boot', 1_100n).renew(200n, 1_100n), 2_000n);
  first.renew(200n, 1_901n);
  t.equal(new PromiseRecord(recordFile(path), 'boot', 2_000n).renew(200n, 2_000n), 2_200n);
});

test('a longer promise that is allowed for a while is on record, and holds up nobody now', async (t) => {
  const path = join(t.testdir(), 'promises');
  const first = new PromiseRecord(recordFile(path), 'boot', 0n);
  t.equal(first.renew(200n, 100n, 10_000n), 200n, 'this process waits for none of its own');
  t.equal(
    new PromiseRecord(recordFile(path), 'boot', 500n).renew(200n, 500n),
    10_500n,
    'the next one does',
  );
  first.renew(200n, 1_000n);
  t.equal(
    new PromiseRecord(recordFile(path), 'boot', 1_100n).renew(200n, 1_100n),
    11_100n,
    'it may run still',
  );
});

test('promises are not given when their length cannot be recorded', async (t) => {
  const path = join(t.testdir(), 'missing', 'promises');
  const record = new PromiseRecord(recordFile(path), 'boot', 0n);
  t.throws(() => record.renew(200n, 0n), { code: 'US_PULSE_RECORD' });
  t.notOk(existsSync(path));
});
