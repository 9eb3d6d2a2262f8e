import { test } from 'tap';
import { promises, words } from '../units/scenario-table.js';
import { scenarios } from '../units/scenarios.js';

test('each row of the table of units is done by test/soak/units.test.ts, and no other', (t) => {
  const rows = promises();
  t.strictSame(
    rows.map(({ id }) => id),
    [...scenarios.keys()],
  );
  for (const row of rows) {
    for (const [column, known] of Object.entries(words)) {
      const word = row[column as keyof typeof words];
      t.ok((known as readonly string[]).includes(word), `${row.id}: ${column}: ${word}`);
    }
  }
  t.end();
});
