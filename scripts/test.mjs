#!/usr/bin/env node
/**
 * Runs compiled tests with tap and closes with `N passed, N failed, N skipped`.
 *
 * No argument: linter, then every fast lane. Arguments: test sources to run alone, e.g.
 * `npm run test:one test/control/votes.test.ts`; what follows `--` is handed to tap.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const split = process.argv.indexOf('--');
const named = process.argv.slice(2, split < 0 ? undefined : split);
const extra = split < 0 ? [] : process.argv.slice(split + 1);

/** Lanes that take minutes or other machines; run by name. */
const slow = ['test/soak', 'test/vm'];

function testsBelow(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((found) => {
      const path = join(folder, found.name);
      if (found.isDirectory()) return slow.includes(path) ? [] : testsBelow(path);
      return found.name.endsWith('.test.ts') ? [path] : [];
    })
    .sort();
}

/** Runs tap on test sources; returns its counts and exit status. */
function runTap(sources, jobs) {
  const files = sources.map((source) => `dist/${source.replace(/\.ts$/, '.js')}`);
  for (const file of files) {
    if (existsSync(file)) continue;
    console.error(`no such compiled test: ${file}`);
    process.exit(2);
  }
  const folder = mkdtempSync(join(tmpdir(), 'understudy-tap-'));
  const output = join(folder, 'run.tap');
  const run = spawnSync(
    'npx',
    [
      'tap',
      '--disable-coverage',
      `--jobs=${jobs}`,
      '--timeout=240',
      '--reporter=terse',
      `--output-file=${output}`,
      ...extra,
      ...files,
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const text = existsSync(output) ? readFileSync(output, 'utf8') : '';
  rmSync(folder, { recursive: true });
  // tap's closing summary has the assertions of every file: `# { total: 9, pass: 8, skip: 1 }`.
  const summary = text.match(/^# \{([^}]*)\}/m)?.[1] ?? '';
  const count = (name) => Number(summary.match(new RegExp(`${name}: (\\d+)`))?.[1] ?? 0);
  for (const skip of text.matchAll(/^.*# SKIP.*$/gm)) console.log(skip[0].trim());
  return { pass: count('pass'), fail: count('fail'), skip: count('skip'), status: run.status ?? 1 };
}

let status = 0;
const total = { pass: 0, fail: 0, skip: 0 };
function add(result) {
  total.pass += result.pass;
  total.fail += result.fail;
  total.skip += result.skip;
  status ||= result.status;
}

if (named.length === 0) {
  const lint = spawnSync('npx', ['biome', 'check', '--error-on-warnings', '.'], {
    stdio: 'inherit',
  });
  add({
    pass: lint.status === 0 ? 1 : 0,
    fail: lint.status === 0 ? 0 : 1,
    skip: 0,
    status: lint.status ?? 1,
  });
  const all = testsBelow('test');
  // What measures time or fills the machine runs after the rest, one at a time.
  const alone = all.filter((path) => path.startsWith('test/lab/') || path.startsWith('test/uml/'));
  add(
    runTap(
      all.filter((path) => !alone.includes(path)),
      2,
    ),
  );
  if (alone.length > 0) add(runTap(alone, 1));
} else {
  add(runTap(named, 1));
}
if (status !== 0 && total.fail === 0) total.fail = 1;
console.log(`${total.pass} passed, ${total.fail} failed, ${total.skip} skipped`);
process.exit(status);
