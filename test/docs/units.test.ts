import { test } from 'tap';
import { promises, words } from '../units/scenario-table.js';
import { scenarios } from '../units/scenarios.js';
import { machineScenarios } from '../vm/units-scenarios.js';

const tables = [
  { page: 'docs/what-happens-when.md', by: 'test/soak/units.test.ts', done: scenarios },
  { page: 'docs/vm-lab.md', by: 'test/vm/machines.test.ts', done: machineScenarios },
];

for (const { page, by, done } of tables) {
  test(`each row of the table of units in ${page} is done by ${by}, and no other`, (t) => {
    const rows = promises(page);
    t.strictSame(
      rows.map(({ id }) => id),
      [...done.keys()],
    );
    for (const row of rows) {
      for (const [column, known] of Object.entries(words)) {
        const word = row[column as keyof typeof words];
        t.ok((known as readonly string[]).includes(word), `${row.id}: ${column}: ${word}`);
      }
    }
    t.end();
  });
}
