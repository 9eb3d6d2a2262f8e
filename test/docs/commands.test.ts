import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { root, runProgram, understudy } from '../cli/run.js';
import { blocks, pages, spans } from './pages.js';
import { runnerOf, runners } from './runners.js';
import { complaintOf, isName, isShell, variants, writtenCommands } from './written-commands.js';

test('every command of ours that a page tells is one by the command line’s own definitions', async (t) => {
  let read = 0;
  for (const page of pages()) {
    for (const { where, text, prose } of writtenCommands(page)) {
      if (prose && isName(text)) continue;
      for (const argv of variants(text)) {
        read += 1;
        t.equal(complaintOf(argv), undefined, `${where}: understudy ${argv.join(' ')}`);
      }
    }
  }
  t.ok(read > 60, `${read} commands were read`);
});

test('what is wrong in a page is seen', async (t) => {
  t.match(complaintOf(['frobnicate']), /unknown command/);
  t.match(complaintOf(['move', 'web1', '--form', 'h1']), /unknown option/);
  t.match(complaintOf(['agent']), /required option/);
  t.equal(complaintOf(['--help']), undefined);
});

test('what npm is told to run is there, and every script of ours is told of', async (t) => {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
    scripts: Record<string, string>;
  };
  const told = new Set<string>();
  for (const page of pages()) {
    for (const [, name = ''] of page.text.matchAll(
      /\bnpm (?:run )?(test\b(?!:)|(?<=run )[\w:]+)/g,
    )) {
      told.add(name);
      t.ok(name in scripts, `${page.path}: npm run ${name}`);
    }
    for (const [, path = ''] of page.text.matchAll(/npm run test:one (\S+\.ts)/g))
      t.ok(existsSync(`${root}${path}`), `${page.path}: ${path}`);
  }
  const untold = Object.keys(scripts).filter((name) => !told.has(name));
  t.strictSame(untold, [], 'scripts of package.json that no page tells of');
});

test('blocks of commands are good shell, with units and programs that exist', async (t) => {
  const units = readdirSync(`${root}systemd`);
  for (const page of pages()) {
    for (const block of blocks(page).filter(isShell)) {
      const script = block.lines.join('\n');
      const { code, stderr } = await runProgram('bash', ['-n', '-c', script]);
      t.strictSame([code, stderr], [0, ''], block.where);
    }
    const code = [
      ...blocks(page).map(({ lines }) => lines.join('\n')),
      ...spans(page).map((one) => one.code),
    ];
    for (const text of code) {
      if (!/^\s*(?:systemctl|journalctl)\b/m.test(text)) continue;
      for (const [unit] of text.matchAll(/\bunderstudy-[a-z]+\b(?!\*)/g))
        t.ok(
          units.some((name) => name.startsWith(`${unit}.`)),
          `${page.path}: ${unit}`,
        );
    }
  }
});

test('of each block of commands it is known which test runs it, or why none does', (t) => {
  const used = new Set<unknown>();
  for (const one of pages()) {
    for (const block of blocks(one).filter(isShell)) {
      const runner = runnerOf(one.path, block.lines);
      used.add(runner);
      t.ok(runner, `${block.where}: ${block.lines[0]}`);
    }
  }
  for (const [page, line, runner] of runners) {
    t.ok(used.has(runner), `${page}: ${line}: there is such a block`);
    if ('not' in runner) continue;
    const text = readFileSync(`${root}${runner.by}`, 'utf8');
    if (runner.instead === undefined) t.match(text, page, `${runner.by} reads ${page}`);
  }
  t.end();
});

/** What changes nothing and needs no cluster is run as it stands. */
const harmless = /^(?:--version|validate examples\/\S+|completion \S+|\w+ --help)$/;

test('commands that change nothing do what the page says', async (t) => {
  const told = pages().flatMap((page) => writtenCommands(page).map(({ text }) => text));
  const runnable = told.filter((text) => harmless.test(text) && !/[A-Z]/.test(text));
  // One of each: test/cli tries every shell and every example.
  const one = new Map(runnable.map((text) => [text.split(' ')[0], text]));
  t.ok(one.size >= 3, runnable.join(', '));
  for (const text of one.values()) {
    const { code, stdout } = await understudy(text.split(' '));
    t.equal(code, 0, text);
    t.not(stdout, '', text);
  }
});
