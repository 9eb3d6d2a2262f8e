import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { readPulseConfig } from '../../src/pulse/config.js';

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

test('without a file of its own pulse takes what the agent’s says', async (t) => {
  const folder = t.testdir();
  const file = join(folder, 'pulse.yaml');
  const agents = 'host: h1\nstore: {endpoints: []}\nunderlayAddress: 10.66.0.1\n';
  writeFileSync(join(folder, 'agent.yaml'), `${agents}pulsePort: 7000\n`);
  t.same(readPulseConfig(file), {
    bind: '10.66.0.1',
    port: 7000,
    keyFile: '/etc/understudy/cluster.key',
    socket: '/run/understudy/pulse.sock',
    realtime: true,
  });
  writeFileSync(join(folder, 'agent.yaml'), 'host: h1\n');
  t.throws(() => readPulseConfig(file), { code: 'US_PULSE_CONFIG', object: /agent\.yaml$/ });
  writeFileSync(file, 'bind: 10.66.0.2\n');
  t.equal(readPulseConfig(file).bind, '10.66.0.2', 'its own goes before');
});
