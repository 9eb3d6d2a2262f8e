import { parseArgs } from 'node:util';
import { compile, ownPlace } from './bench-plane.js';
import { changes } from './dispatch-change.js';
import { costs } from './dispatch-cost.js';
import { endToEnd } from './dispatch-veth.js';
import { machine } from './machine.js';
import { intoPage } from './markdown.js';

/**
 * `npm run bench:dispatch -- [--page]`: what a packet costs, how many go through, how soon changes apply. Needs
 * root and clang. --page writes docs/dispatcher.md.
 */
const { values } = parseArgs({ options: { page: { type: 'boolean', default: false } } });
compile();
const { place, remove } = ownPlace();
const tables: string[] = [];
try {
  for (const measure of [costs, endToEnd, changes]) {
    const text = await measure(place);
    process.stdout.write(`${text}\n`);
    tables.push(text);
  }
} finally {
  remove();
}
if (values.page) {
  const page = new URL('../../docs/dispatcher.md', import.meta.url);
  intoPage(page, 'dispatch', `${tables.join('\n')}\n${machine}; \`npm run bench:dispatch\`.`);
}
