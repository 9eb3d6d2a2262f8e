import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { completionScript } from '../cli/completion.js';
import { understudyProgram } from '../cli/program.js';
import { ownVersion } from '../version.js';
import { manualPages } from './pages.js';

/**
 * Writes manual pages and shell completions below a folder, where Debian's man and shells look for
 * them: `node dist/src/manual/main.js FOLDER DATE`. Part of a package's build.
 */
const [folder, date] = process.argv.slice(2);
if (folder === undefined || date === undefined) throw new Error('usage: main.js FOLDER DATE');
const root = new URL('../../../', import.meta.url).pathname;
const program = understudyProgram({ signal: new AbortController().signal });

function write(path: string, text: string): void {
  const file = join(folder ?? '', path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
}

const pages = manualPages({
  program,
  version: ownVersion(),
  date,
  reference: (name) => readFileSync(`${root}docs/reference/${name}.md`, 'utf8'),
});
for (const { name, section, text } of pages) {
  write(`usr/share/man/man${section}/${name}.${section}`, text);
}
write('usr/share/bash-completion/completions/understudy', completionScript('bash', program));
write('usr/share/zsh/vendor-completions/_understudy', completionScript('zsh', program));
write('usr/share/fish/vendor_completions.d/understudy.fish', completionScript('fish', program));
