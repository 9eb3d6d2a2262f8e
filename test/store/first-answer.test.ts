import { test } from 'tap';
import { EtcdStore } from '../../src/store/etcd.js';
import { startEtcd } from '../../src/store/etcd-process.js';
import { firstAnswer, firstAnswerMs } from '../../src/store/first-answer.js';
import { silent } from '../../src/store/log.js';
import { unreachable } from '../../src/store/refusals.js';
import { systemTimers } from '../../src/store/timers.js';
import { freePorts } from './etcd-cluster.js';
import { VirtualTimers } from './virtual-timers.js';

const never = new AbortController().signal;
const late = () => unreachable('cannot read', 'config', 'no answer in time');

/** Each try of it takes three seconds. */
function storeThat(timers: VirtualTimers, answers: (attempt: number) => void) {
  let attempts = 0;
  return {
    start: () =>
      new Promise<void>((resolve, reject) => {
        timers.after(3_000, () => {
          attempts += 1;
          try {
            answers(attempts);
            resolve();
          } catch (thrown) {
            reject(thrown);
          }
        });
      }),
    get attempts() {
      return attempts;
    },
  };
}

test('a store that is late is waited for, up to a bound', async (t) => {
  const timers = new VirtualTimers();
  const told: string[] = [];
  const log = { ...silent, warn: (_: object, text: string) => void told.push(text) };
  const slow = storeThat(timers, (attempt) => {
    if (attempt < 4) throw late();
  });
  const started = firstAnswer(slow, { log, timers }, never);
  await timers.runMs(12_300);
  await started;
  t.match(told, [/no answer in time/, /trying again/, /trying again/]);
  t.equal(told.length, 3);

  const dead = storeThat(timers, () => {
    throw late();
  });
  const refused = t.rejects(firstAnswer(dead, { log, timers }, never), {
    code: 'US_STORE_UNREACHABLE',
  });
  await timers.runMs(firstAnswerMs + 3_100);
  await refused;
  t.equal(dead.attempts, 20);
});

test('what another try would not change is told at once, and nobody is tried after the end', async (t) => {
  const timers = new VirtualTimers();
  const parts = { log: silent, timers };
  const broken = storeThat(timers, () => {
    throw new Error('permission denied');
  });
  const refused = t.rejects(firstAnswer(broken, parts, never), /permission denied/);
  await timers.runMs(3_000);
  await refused;
  t.equal(broken.attempts, 1);

  const stop = new AbortController();
  const dead = storeThat(timers, () => {
    stop.abort();
    throw late();
  });
  const ended = t.rejects(firstAnswer(dead, parts, stop.signal));
  await timers.runMs(3_000);
  await ended;
  t.equal(dead.attempts, 1);
});

test('etcd that starts after a first try in vain', async (t) => {
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const member = { name: 'm0', address: '127.0.0.1', clientPort, peerPort };
  const store = new EtcdStore({
    endpoints: [`http://127.0.0.1:${clientPort}`],
    prefix: '/understudy/first/',
  });
  t.teardown(() => store.stop());
  let told = 0;
  const warn = () => {
    told += 1;
    if (told > 1) return;
    const etcd = startEtcd({ directory: t.testdir(), members: [member] });
    t.teardown(() => etcd.stop());
  };
  await firstAnswer(store, { log: { ...silent, warn }, timers: systemTimers() }, never);
  t.ok(told >= 1, 'it waited');
  t.equal(await store.get('config'), undefined, 'and works');
});
