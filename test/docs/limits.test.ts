import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { root } from '../cli/run.js';
import { page, rows } from './pages.js';

test('the numbers of docs/limits.md are those of the code', (t) => {
  let held = 0;
  for (const [what = '', bound = '', where = ''] of rows(page('docs/limits.md')).slice(1)) {
    const [, name, file] = /^`(\w+)` in `([\w./-]+)`$/.exec(where) ?? [];
    if (name === undefined || file === undefined) continue;
    const source = readFileSync(`${root}${file}`, 'utf8');
    const [, value = ''] = new RegExp(`const ${name} = ([\\d_ *]+);`).exec(source) ?? [];
    const number = value.split('*').reduce((all, one) => all * Number(one.replaceAll('_', '')), 1);
    t.equal(Number(bound.replaceAll(',', '')), number, `${what}: ${name} = ${value}`);
    held += 1;
  }
  t.ok(held >= 15);
  t.end();
});
