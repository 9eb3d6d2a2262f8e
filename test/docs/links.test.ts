import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'tap';
import { root } from '../cli/run.js';
import { inBackquotes, page, pages, rows, spans } from './pages.js';

/** As GitHub makes them: lower case, punctuation gone, spaces to hyphens. */
function anchors(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

test('every link leads to a page that exists, and to a heading that it has', async (t) => {
  for (const { path, text } of pages()) {
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) {
        t.ok(URL.canParse(target), `${path}: ${target}`);
        continue;
      }
      const [file = '', anchor] = target.split('#');
      const full = file === '' ? path : normalize(join(dirname(path), file));
      t.ok(existsSync(`${root}${full}`), `${path}: ${target}`);
      if (anchor !== undefined) t.ok(anchors(page(full).text).has(anchor), `${path}: ${target}`);
    }
  }
});

/** Paths from the root of the checkout; in docs/ also beside the page (`reference/cli.md`). */
const ownPath = /^(?:src|test|bench|docs|examples|scripts|native|systemd)\/[\w./-]*$/;
const bare = /(?<![\w/.`-])docs\/[\w./-]+\.(?:md|json|yaml|yml)/g;

test('every file of ours that a page names exists', async (t) => {
  for (const one of pages()) {
    const named = [
      ...spans(one).map(({ code }) => code),
      ...[...one.text.matchAll(bare)].map(([path]) => path),
    ];
    for (const path of named.filter((code) => ownPath.test(code)))
      t.ok(existsSync(`${root}${path}`), `${one.path}: ${path}`);
    for (const path of named.filter((code) => /^(?:\.\.\/|reference\/)?[\w-]+\.md$/.test(code)))
      t.ok(existsSync(`${root}${join(dirname(one.path), path)}`), `${one.path}: ${path}`);
  }
});

test('every page of docs is linked from the README, or from a page that is', async (t) => {
  const seen = new Set<string>();
  const look = (path: string): void => {
    if (seen.has(path) || !path.endsWith('.md')) return;
    seen.add(path);
    for (const [, target = ''] of page(path).text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g))
      if (!/^https?:/.test(target)) look(normalize(join(dirname(path), target)));
  };
  look('README.md');
  t.strictSame(
    pages().flatMap(({ path }) => (seen.has(path) ? [] : [path])),
    [],
  );
});

test('what shows a row of docs/what-happens-when.md is a scenario or a test that exists', async (t) => {
  const scenarios = readdirSync(`${root}examples/scenarios`).map((name) => name.slice(0, -5));
  const named = new Set<string>();
  for (const cells of rows(page('docs/what-happens-when.md'))) {
    if (cells.length !== 5) continue;
    for (const code of inBackquotes(cells[4] ?? '')) {
      if (/^(?:npm|test\/)/.test(code)) continue;
      named.add(code);
      t.ok(scenarios.includes(code), code);
    }
  }
  t.strictSame(
    scenarios.filter((name) => !named.has(name)),
    [],
    'and each scenario shows one',
  );
});
