import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'tap';
import { alone } from '../../src/cli/alone.js';

const module = new URL('../../src/cli/alone.js', import.meta.url).pathname;

test('one command at a time changes a file, and a killed one holds nobody up', async (t) => {
  const file = `${t.testdir()}/file`;
  const hold = `import { alone } from '${module}';
    await alone('${file}', () => new Promise(() => { console.log('in'); setInterval(() => {}, 1000); }));`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', hold], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  await t.rejects(
    alone(file, async () => t.fail('not alone')),
    { code: 'US_BUSY' },
  );
  t.equal(await alone(`${file}-2`, async () => 'other'), 'other', 'another file is another matter');
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  t.equal(await alone(file, async () => 'mine'), 'mine');
  await t.rejects(
    alone(file, async () => {
      throw new Error('failed');
    }),
    { message: 'failed' },
  );
  t.equal(await alone(file, async () => 'again'), 'again', 'given back after a failure');
});
