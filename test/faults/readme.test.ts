import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { root, runProgram } from '../cli/run.js';
import { blocks, page } from '../docs/pages.js';

/** Exit codes other than 0: the lab has just lost a host, and the file was changed. */
const expected: Readonly<Record<string, readonly number[]>> = { doctor: [0, 1], plan: [3] };

test('the README’s own lab, command by command', async (t) => {
  const block = blocks(page('README.md')).find(({ lines }) =>
    lines.some((line) => line.includes('lab up')),
  );
  const folder = mkdtempSync(join(tmpdir(), 'understudy-readme-'));
  const changed = join(folder, 'changed.yaml');
  const env = { ...process.env, US_LAB: `readme-${process.pid}` };
  t.teardown(async () => {
    await runProgram('npx', ['understudy', 'lab', 'down'], { env });
    rmSync(folder, { recursive: true });
  });
  const file = readFileSync(`${root}examples/lab.yaml`, 'utf8');
  writeFileSync(changed, file.replace('10.10.0.12/24', '10.10.0.13/24'));
  for (const line of block?.lines ?? []) {
    const command = line.replace(/#.*/, '').replace('changed.yaml', changed).trim();
    const [, , name = ''] = command.split(' ');
    const { code, stdout, stderr } = await runProgram('bash', ['-c', command], { env });
    t.ok((expected[name] ?? [0]).includes(Number(code)), `${command}: ${code} ${stderr}`);
    if (name !== 'lab') t.match(stdout, /\S/, command);
  }
  const left = await runProgram('npx', ['understudy', 'lab', 'status'], { env });
  t.match([left.code, left.stderr], [1, /US_LAB_NONE|US_LAB_UNKNOWN/], 'nothing is left');
});
