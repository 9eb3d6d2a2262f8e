import { test } from 'tap';
import { within } from '../src/deadline.js';

test('a deadline comes also when garbage is collected before it', async (t) => {
  const parent = new AbortController();
  let reason: unknown;
  const aborted = new Promise<void>((resolve) => {
    const signal = within(150, parent.signal);
    signal.addEventListener('abort', () => {
      reason = signal.reason;
      resolve();
    });
  });
  // Work that makes the collector run several times before the deadline.
  const pressure = setInterval(() => Array.from({ length: 50_000 }, (_, index) => ({ index })), 2);
  await aborted;
  clearInterval(pressure);
  t.match(reason, { message: 'it took longer than 150 ms' });
});

test('a deadline follows its parent, with the parent’s reason', (t) => {
  const parent = new AbortController();
  const signal = within(60_000, parent.signal);
  t.equal(signal.aborted, false);
  parent.abort(new Error('stop'));
  t.match(signal.reason, { message: 'stop' });
  t.ok(within(60_000, parent.signal).aborted, 'also one that was aborted before');
  t.end();
});
