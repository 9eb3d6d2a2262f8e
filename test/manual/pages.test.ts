import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { wordsOf } from '../../src/cli/completion.js';
import { understudyProgram } from '../../src/cli/program.js';
import { fromMarkdown, section } from '../../src/manual/from-markdown.js';
import { manualPages } from '../../src/manual/pages.js';
import { root, runProgram } from '../cli/run.js';

const program = understudyProgram({ signal: new AbortController().signal });
const pages = manualPages({
  program,
  version: '1.2.3',
  date: '2026-01-01',
  reference: (name) => readFileSync(`${root}docs/reference/${name}.md`, 'utf8'),
});

test('what Markdown says, roff says', (t) => {
  t.equal(
    fromMarkdown('## The `file`\n\nA\n`--flag` [here](x.md).\n'),
    '.SH "THE FILE"\n.PP\nA \\fB\\-\\-flag\\fR here.\n',
  );
  t.equal(
    fromMarkdown(
      '| key | meaning | default |\n| - | - | - |\n| `a` | one | `1` |\n| `b` | two | |\n',
    ),
    '.TP\n\\fBa\\fR\none\n.br\ndefault: \\fB1\\fR\n.TP\n\\fBb\\fR\ntwo\n',
  );
  t.equal(
    fromMarkdown('```\n.dot\nback\\slash\n```\n'),
    '.PP\n.in +4n\n.EX\n\\&.dot\nback\\eslash\n.EE\n.in\n',
  );
  t.equal(fromMarkdown('* one\n  more\n* two\n'), '.IP \\(bu 4\none more\n.IP \\(bu 4\ntwo\n');
  t.throws(() => section('# page\n', '## none'), /no heading/);
  t.end();
});

test('understudy(1) has every command and option', (t) => {
  const page = pages.find(({ name }) => name === 'understudy')?.text.replaceAll('\\-', '-') ?? '';
  for (const { path, commands, options } of wordsOf(program)) {
    if (commands.length > 0) continue;
    t.ok(page.includes(`\\fB${path.join(' ')}\\fR`), path.join(' '));
    for (const { flag } of options) t.ok(flag === '--help' || page.includes(flag), flag);
  }
  t.end();
});

test('man finds no fault with any page', async (t) => {
  for (const { name, section: number, text } of pages) {
    const options = ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', '-'];
    const env = { ...process.env, LC_ALL: 'C.UTF-8', MANROFFSEQ: '', MANWIDTH: '80' };
    const { code, stderr } = await runProgram('man', options, { input: text, env });
    t.strictSame([code, stderr], [0, ''], `${name}(${number})`);
  }
});
