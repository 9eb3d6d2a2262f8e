import { test } from 'tap';
import { handOver } from '../../src/agent/hand-over.js';
import { assignmentKey, hostKey } from '../../src/control/keys.js';
import type { AssignmentRecord } from '../../src/control/records.js';
import { web1 } from '../control/world.js';
import { roleHost } from './role-host.js';

const key = assignmentKey('personality', 'web1');
const draining: AssignmentRecord = {
  host: 'h1',
  incarnation: 1,
  epoch: 4,
  state: 'draining',
  cause: 'move',
  reason: 'asked for',
  to: 'h4',
  failover: null,
};
const enrolled = (incarnation: number) => ({ incarnation, bootToken: 'b', enforced: true });

test('a role is never left with nobody because its next host enrolled anew meanwhile', async (t) => {
  const { parts, put, end } = await roleHost({});
  const { watch, store } = parts;
  await put(hostKey('h4'), enrolled(1));
  await put(key, draining);
  await watch.until(() => watch.view.assignments.size === 1, new AbortController().signal);
  end();
  await put(hostKey('h4'), enrolled(2));
  await t.rejects(
    handOver(web1, 0, parts),
    { message: /has changed/ },
    'so that it is tried again',
  );
  t.match(JSON.parse((await store.get(key))?.value ?? ''), { host: 'h1', state: 'draining' });
});

test('nothing is handed over twice', async (t) => {
  const { parts, put, end } = await roleHost({});
  const { watch, store } = parts;
  await put(hostKey('h4'), enrolled(1));
  await put(key, draining);
  await watch.until(() => watch.view.assignments.size === 1, new AbortController().signal);
  await handOver(web1, 0, parts);
  await handOver(web1, 0, parts);
  t.match(JSON.parse((await store.get(key))?.value ?? ''), { host: 'h4', epoch: 5 });
  end();
});
