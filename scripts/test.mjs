#!/usr/bin/env node
/**
 * Runs compiled tests with tap and closes with `N passed, N failed, N skipped`.
 *
 * No argument: linter, then every fast lane. Arguments: test sources, or folders of them, to run alone,
 * e.g. `npm run test:one test/control/votes.test.ts`; what follows `--` is handed to tap.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const split = process.argv.indexOf('--');
const named = process.argv.slice(2, split < 0 ? undefined : split);
const extra = split < 0 ? [] : process.argv.slice(split + 1);

/** What takes minutes or other machines; run by name. */
const slow = ['test/faults', 'test/soak', 'test/vm', 'test/vm/install.test.ts'];

function testsBelow(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((found) => {
      const path = join(folder, found.name);
      if (slow.includes(path)) return [];
      if (found.isDirectory()) return testsBelow(path);
      return found.name.endsWith('.test.ts') ? [path] : [];
    })
    .sort();
}

/** One test file's part of the TAP stream: a line when it passed, everything when it did not. */
class Report {
  #block = [];
  counts = { pass: 0, fail: 0, skip: 0 };

  take(line) {
    // tap's closing summary has the assertions of every file: `# { total: 9, pass: 8, skip: 1 }`.
    const summary = line.match(/^# \{([^}]*)\}/)?.[1];
    if (summary !== undefined) {
      for (const name of Object.keys(this.counts)) {
        this.counts[name] = Number(summary.match(new RegExp(`${name}: (\\d+)`))?.[1] ?? 0);
      }
    }
    if (/^\s+ok .*# SKIP/.test(line)) console.log(line.trim());
    const end = line.match(/^(ok|not ok) \d+ - (.*)$/);
    if (end === null) {
      this.#block.push(line);
      return;
    }
    if (end[1] === 'not ok') for (const told of this.#block) console.log(told);
    console.log(`${end[1]} ${end[2]}`);
    this.#block = [];
  }
}

/** Runs tap on test sources; resolves with its counts and exit status. */
async function runTap(sources, jobs) {
  const files = sources.map((source) => `dist/${source.replace(/\.ts$/, '.js')}`);
  for (const file of files) {
    if (existsSync(file)) continue;
    console.error(`no such compiled test: ${file}`);
    process.exit(2);
  }
  const run = spawn(
    'npx',
    [
      'tap',
      '--disable-coverage',
      `--jobs=${jobs}`,
      '--timeout=240',
      '--reporter=tap',
      ...extra,
      ...files,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const report = new Report();
  createInterface({ input: run.stdout }).on('line', (line) => report.take(line));
  const status = await new Promise((resolve) => run.on('close', (code) => resolve(code ?? 1)));
  return { ...report.counts, status };
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
  const timed = ['test/pulse/', 'test/lab/', 'test/store/etcd.test.ts', 'test/uml/', 'test/units/'];
  const alone = all.filter((path) => timed.some((folder) => path.startsWith(folder)));
  add(
    await runTap(
      all.filter((path) => !alone.includes(path)),
      2,
    ),
  );
  if (alone.length > 0) add(await runTap(alone, 1));
} else {
  const isFolder = (path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  add(
    await runTap(
      named.flatMap((path) => (isFolder(path) ? testsBelow(path) : [path])),
      1,
    ),
  );
}
console.log(`# took ${Math.round(performance.now() / 1_000)} s`);
if (status !== 0 && total.fail === 0) total.fail = 1;
console.log(`${total.pass} passed, ${total.fail} failed, ${total.skip} skipped`);
process.exit(status);
