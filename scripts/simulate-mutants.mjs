#!/usr/bin/env node
/**
 * Hunts every mutant, or those that are named, and prints how many seeds each needed:
 *
 *   npm run simulate:mutants
 *   npm run simulate:mutants -- nofence wtally
 */
import { hunt, mutants } from '../dist/test/simulate/mutants.js';

const named = process.argv.slice(2);
const wanted = mutants.filter(({ name }) => named.length === 0 || named.includes(name));
let escaped = 0;
for (const mutant of wanted) {
  const caught = await hunt(mutant);
  if (caught === undefined || caught.honest.length > 0) escaped++;
  const how =
    caught === undefined
      ? `not caught within ${mutant.seeds} seeds`
      : `${caught.tried} of ${mutant.seeds} seeds | ${caught.violation.invariant}: ${caught.violation.text}`;
  console.log(`${mutant.name} | ${mutant.broken} | ${how}`);
  for (const { text } of caught?.honest ?? []) console.log(`  without the mutant too: ${text}`);
}
process.exit(escaped === 0 ? 0 : 1);
