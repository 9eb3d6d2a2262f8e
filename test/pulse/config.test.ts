import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { readClusterKey, readPulseConfig } from '../../src/pulse/config.js';

test('the configuration file', async (t) => {
  const file = join(t.testdir(), 'pulse.yaml');
  writeFileSync(file, 'bind: 10.66.0.1\n');
  t.same(readPulseConfig(file), {
    bind: '10.66.0.1',
    port: 7411,
    keyFile: '/etc/understudy/cluster.key',
    socket: '/run/understudy/pulse.sock',
    realtime: true,
  });
  for (const wrong of [
    'bind: host',
    'bind: 10.66.0.1\nprot: 1',
    '',
    'a: [',
    'bind: ::1\nport: 0',
  ]) {
    writeFileSync(file, wrong);
    t.throws(() => readPulseConfig(file), { code: 'US_PULSE_CONFIG' }, JSON.stringify(wrong));
  }
  t.throws(() => readPulseConfig(`${file}.none`), { code: 'US_PULSE_CONFIG' });
});

test('the cluster key', async (t) => {
  const file = join(t.testdir(), 'cluster.key');
  const key = 'k'.repeat(44);
  writeFileSync(file, `${key}\n`, { mode: 0o600 });
  t.equal(readClusterKey(file).toString(), key, 'without the line end');
  for (const mode of [0o640, 0o604, 0o660, 0o644]) {
    chmodSync(file, mode);
    t.throws(() => readClusterKey(file), { code: 'US_PULSE_KEY_MODE' }, mode.toString(8));
  }
  chmodSync(file, 0o400);
  t.ok(readClusterKey(file));
  chmodSync(file, 0o600);
  writeFileSync(file, 'short\n');
  t.throws(() => readClusterKey(file), { code: 'US_PULSE_KEY' });
  t.throws(() => readClusterKey(`${file}.none`), { code: 'US_PULSE_KEY' });
});
