import { test } from 'tap';
import { handOver, letNextGoFirst } from '../../src/agent/hand-over.js';
import { assignmentKey, hostKey, reportKey } from '../../src/control/keys.js';
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

test('what is left waits until the next host runs the role, or for a moment', async (t) => {
  const { parts, put, end } = await roleHost({});
  const { watch } = parts;
  await put(key, { ...draining, host: 'h4', epoch: 5, state: 'assigned' });
  await watch.until(() => watch.view.assignments.size === 1, new AbortController().signal);
  let running = false;
  const waiting = letNextGoFirst(web1, {
    ...parts,
    // A time-out that never comes.
    timers: { ...parts.timers, after: () => () => undefined },
  }).then(() => t.ok(running, 'not before it runs'));
  const report = (epoch: number, phase: string) =>
    put(reportKey('h4'), {
      incarnation: 1,
      personalities: [{ name: 'web1', epoch, phase, detail: '', volumes: [] }],
      services: [],
      health: [],
    });
  await report(4, 'running');
  await report(5, 'starting');
  await watch.until(
    () => watch.view.reports.get('h4')?.value.personalities[0]?.phase === 'starting',
    new AbortController().signal,
  );
  running = true;
  await report(5, 'running');
  await waiting;

  await put(key, { ...draining, host: 'h3', epoch: 6, state: 'assigned' });
  await watch.until(
    () => watch.view.assignments.get('personality/web1')?.value.host === 'h3',
    new AbortController().signal,
  );
  await letNextGoFirst(web1, parts);
  t.pass('one that says nothing holds nobody up');
  end();
});
