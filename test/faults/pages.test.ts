import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { must, personality } from '../../src/demo/stage.js';
import { root, runProgram, understudy } from '../cli/run.js';
import { blockBelow, blocks, page } from '../docs/pages.js';
import { runnerOf } from '../docs/runners.js';
import { openLab, untilRuns } from '../lab/harness.js';

const keepalived = 'vrrp_instance a {\n virtual_ipaddress {\n  10.10.0.9/24\n }\n}\n';

const watchUntilDrained = [
  'understudy status --watch > watched & watch=$!',
  "until grep -E '^h2 +drained' watched; do kill -0 $watch && sleep 0.1; done",
  'kill -TERM $watch; wait $watch',
].join('; ');

/** Blocks of a page that this test runs, as they stand there. */
const mine = (path: string): readonly (readonly string[])[] =>
  blocks(page(path)).flatMap(({ lines }) => {
    const runner = runnerOf(path, lines);
    return runner !== undefined && 'by' in runner && runner.by.endsWith('/pages.test.ts')
      ? [lines]
      : [];
  });

test('the commands of the pages for operators, in a lab', async (t) => {
  const { stage, lab } = await openLab(t, 'pages');
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-pages-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'bin'));
  symlinkSync(`${root}bin/understudy`, join(folder, 'bin/understudy'));
  const env = { ...process.env, US_LAB: lab.name, PATH: `${folder}/bin:${process.env.PATH}` };
  const site = blockBelow(page('docs/operations.md'), '## Another site', 'yaml');
  writeFileSync(join(folder, 'site-b.yaml'), site.join('\n'));
  writeFileSync(join(folder, 'keepalived.conf'), keepalived);
  const ran = new Set<string>();
  const run = async (line: string, here: string, codes: readonly number[] = [0]) => {
    const script = `set -o pipefail; cd ${folder}; ${here}`;
    const { code, stdout, stderr } = await runProgram('bash', ['-c', script], { env });
    t.ok(codes.includes(Number(code)), `${line}: ${code} ${stderr}`);
    const into = / > (\S+)$/.exec(here)?.[1];
    const said =
      into === undefined ? `${stdout}${stderr}` : readFileSync(join(folder, into), 'utf8');
    t.match(said, /\S/, `${line}: it says something`);
    ran.add(line);
    return stdout;
  };

  await t.test('a failover to tell of', async () => {
    const before = personality(await stage.status(), 'web1');
    await lab.kill(before.host ?? '');
    await untilRuns(stage, 'web1', before.epoch + 1);
    await lab.start(before.host ?? '');
    await stage.until(
      'all hosts are up',
      ({ hosts }) => hosts.every(({ state }) => state === 'up'),
      60_000,
    );
  });

  await t.test('docs/operations.md', async () => {
    const { stdout } = await understudy(['failovers', '--json', '--lab', lab.name]);
    const [{ id }] = JSON.parse(stdout) as [{ id: string }];
    for (const line of mine('docs/operations.md').flat()) {
      const here = line
        .replace('web1-4', id)
        .replace('/etc/keepalived/', '')
        // It goes on until it is interrupted, and ends in good order.
        .replace('understudy status --watch', watchUntilDrained);
      await run(line, here, line === 'understudy doctor' ? [0, 1] : [0]);
    }
    const drained = await stage.status();
    t.equal(drained.hosts.find(({ name }) => name === 'h2')?.state, 'drained');
    await understudy(['undrain', 'h2', '--lab', lab.name]);
  });

  await t.test('docs/install.md: a cluster file is looked at, planned and applied', async () => {
    await runProgram('cp', [join(folder, 'backup.yaml'), join(folder, 'shop.yaml')]);
    for (const line of mine('docs/install.md').flat()) await run(line, line);
  });

  await t.test('docs/reference/http-api.md: tokens of a host', async (t) => {
    const script = mine('docs/reference/http-api.md').flat();
    const said = await must(stage, 'h1', [
      'bash',
      '-ec',
      `PATH=${folder}/bin:$PATH; cd /root; ${script.join('\n')}\nstat -c %a /etc/understudy/api-tokens.json`,
    ]);
    t.match(said, /prometheus +read[\s\S]*alice +operate[\s\S]*\n600\n$/);
    for (const line of script) ran.add(line);
  });

  t.ok(ran.size >= 15, [...ran].join('\n'));
});
