import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { serve, watchdogOf } from '../src/serve.js';
import { listen } from './notify-socket.js';

test('ready, signs of life from the event loop, stopping', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'notify');
  const systemd = listen(`${path}\0`);
  t.teardown(() => systemd.close());
  const stop = new AbortController();
  const environment = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '80000' };
  const refused: string[] = [];
  const served = serve(stop.signal, { environment, refused: (text) => refused.push(text) });
  t.equal(systemd.heard(), 'READY=1');
  t.equal(await systemd.next(), 'WATCHDOG=1');
  // An event loop that does not go round gives no sign.
  const hungUntilMs = performance.now() + 100;
  while (performance.now() < hungUntilMs);
  t.throws(() => systemd.heard(), /EWOULDBLOCK/);
  t.equal(await systemd.next(), 'WATCHDOG=1');
  stop.abort();
  await served;
  t.equal(systemd.heard(), 'STOPPING=1');
  t.same(refused, []);
});

test('nobody waits for signs, or nobody listens: the daemon serves all the same', async (t) => {
  const refused: string[] = [];
  const options = { environment: {}, refused: (text: string) => refused.push(text) };
  await serve(AbortSignal.abort(), options);
  t.same(refused, []);
  await serve(AbortSignal.abort(), { ...options, environment: { NOTIFY_SOCKET: '/nothing' } });
  t.equal(refused.length, 2);
  t.match(refused[0], /systemd could not be told READY=1/);
});

test('the watchdog of another process is not ours', async (t) => {
  t.equal(watchdogOf({}), undefined);
  t.equal(watchdogOf({ WATCHDOG_USEC: '0' }), undefined);
  t.equal(watchdogOf({ WATCHDOG_USEC: '2000000' }), 2_000);
  t.equal(watchdogOf({ WATCHDOG_USEC: '2000000', WATCHDOG_PID: `${process.pid}` }), 2_000);
  t.equal(watchdogOf({ WATCHDOG_USEC: '2000000', WATCHDOG_PID: `${process.ppid}` }), undefined);
});
