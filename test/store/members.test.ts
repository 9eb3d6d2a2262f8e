import { status } from '@grpc/grpc-js';
import { test } from 'tap';
import type { Member } from '../../src/store/etcd/member.js';
import { Members } from '../../src/store/etcd/members.js';
import { VirtualTimers } from './virtual-timers.js';

/** A member that nobody connects to: what a try comes to is the test's. */
const nobody = (endpoint: string): Member => ({
  endpoint,
  reconnect: () => {},
  call: () => Promise.reject(new Error('not asked')),
  exchange: () => Promise.reject(new Error('not asked')),
  open: () => {
    throw new Error('not asked');
  },
  close: () => {},
});

test('a try that the end of the budget cuts short does not hide why the others failed', async (t) => {
  const timers = new VirtualTimers();
  const members = new Members(['http://e1:2379'], timers, nobody);
  const why = (code: number, message: string) => Object.assign(new Error(message), { code });
  const asked = members.call(
    { action: 'cannot read', object: 'x' },
    { budgetMs: 60 },
    async (_, ms) => {
      throw ms < 30
        ? why(status.DEADLINE_EXCEEDED, 'Deadline exceeded after 0.000s')
        : why(status.UNAVAILABLE, 'connect ECONNREFUSED');
    },
  );
  const refused = t.rejects(asked, { code: 'US_STORE_UNREACHABLE', message: /ECONNREFUSED/ });
  await timers.runMs(100);
  await refused;
});

test('many calls that run out of time at once drop the connection once', async (t) => {
  const timers = new VirtualTimers();
  let connections = 0;
  const reconnect = () => {
    connections++;
  };
  const members = new Members(['http://e1:2379'], timers, (endpoint) => ({
    ...nobody(endpoint),
    reconnect,
  }));
  let late = 200;
  const ask = () =>
    members.call({ action: 'cannot read', object: 'x' }, {}, async (_, ms) => {
      if (late-- <= 0) return 'answered';
      await new Promise<void>((resolve) => timers.after(ms, resolve));
      throw Object.assign(new Error('late'), { code: status.DEADLINE_EXCEEDED });
    });
  const all = Promise.all(Array.from({ length: 200 }, ask));
  await timers.runMs(1_000);
  t.equal((await all).length, 200);
  t.equal(connections, 1);
});
