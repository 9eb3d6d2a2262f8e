import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';

const root = new URL('../../', import.meta.url).pathname;

/** Quoted, or with two words after US: `US_LAB` alone is a variable of the environment. */
const inSource = /'(US_[A-Z_]+)'|\b(US_[A-Z]+(?:_[A-Z]+)+)\b/g;
const inPage = /^\| `(US_[A-Z_]+)` \| ([^|]+) \| ([^|]+) \|$/gm;

test('every error code is documented, and every documented one exists', (t) => {
  const source = new Map<string, string>();
  for (const file of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readFileSync(join(root, 'src', file), 'utf8');
    for (const [, quoted, plain] of text.matchAll(inSource))
      source.set(quoted ?? plain ?? '', file);
  }
  const page = readFileSync(join(root, 'docs/reference/errors.md'), 'utf8');
  const documented = [...page.matchAll(inPage)].map(([, code = '']) => code);
  const missing = [...source].filter(([code]) => !documented.includes(code));
  t.strictSame(missing, [], 'codes (and where) without a line in docs/reference/errors.md');
  const gone = documented.filter((code) => !source.has(code));
  t.strictSame(gone, [], 'lines in docs/reference/errors.md for codes that src does not have');
  t.equal(new Set(documented).size, documented.length, 'one line a code');
  t.end();
});
