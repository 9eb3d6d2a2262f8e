import { test } from 'tap';
import { clientAddressOf } from '../../src/cli/client-address.js';
import { whichOf } from '../../src/cli/run/which.js';
import { World } from '../control/world.js';
import { understudy } from './run.js';

test('a client is an address and a port', (t) => {
  t.strictSame(clientAddressOf('10.10.0.200:40001'), {
    address: '10.10.0.200',
    family: 4,
    port: 40_001,
  });
  t.strictSame(clientAddressOf('[fd00::1]:1'), { address: 'fd00::1', family: 6, port: 1 });
  const wrong = ['', 'c1', '10.10.0.200', 'c1:80', '10.10.0.200:65536', '999.1.1.1:5', '1.2:5'];
  const wrong6 = ['fd00::1:80', '[10.10.0.200]:80', '[:::::]:5', '[fe80::1%eth0]:5', '[fd00::1]'];
  for (const text of [...wrong, ...wrong6]) t.equal(clientAddressOf(text), undefined, text);
  t.end();
});

test('what is no client is wrong usage, told before any store is asked', async (t) => {
  const ran = await understudy(['which', 'web', '999.1.1.1:5', '--json']);
  t.strictSame([ran.code, ran.stdout], [2, '']);
  t.match(
    ran.stderr,
    /'999\.1\.1\.1:5' is invalid .* write 10\.10\.0\.200:40001 or \[fd00::1\]:40001/,
  );
});

test('a client of a family in which the service has no address gets no member', (t) => {
  const world = new World();
  world.write('alloc', { macs: {}, seeds: { web: '0123456789abcdef0123456789abcdef' } });
  t.match(whichOf(world.view, 'web', '10.10.0.200:40001').member, /^web[12]$/);
  t.throws(() => whichOf(world.view, 'web', '[fd00::1]:40001'), {
    code: 'US_WHICH',
    reason: 'it has no IPv6 address that [fd00::1]:40001 could ask',
  });
  t.end();
});
