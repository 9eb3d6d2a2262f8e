import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { test } from 'tap';
import { commands } from '../../src/cli/commands.js';
import { wordsOf } from '../../src/cli/completion.js';
import { root } from './run.js';

test('docs/reference/cli.md, and lab.md for the lab, name every command and option', (t) => {
  const [cli, lab] = ['cli', 'lab'].map((name) =>
    readFileSync(`${root}docs/reference/${name}.md`, 'utf8'),
  );
  const program = new Command('understudy').enablePositionalOptions();
  const context = { signal: new AbortController().signal };
  for (const command of commands) command.register(program, context);
  const missing = wordsOf(program).flatMap(({ path, options }) => {
    const name = path.join(' ');
    const page = `${path.length > 1 && path[0] === 'lab' ? lab : ''}${cli}`;
    if (name !== '' && !page.includes(`\`${name}`)) return [name];
    return options.filter(({ flag }) => !page.includes(flag)).map(({ flag }) => `${name} ${flag}`);
  });
  t.same(missing, []);
  t.end();
});
