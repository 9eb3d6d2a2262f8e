import { readdirSync } from 'node:fs';
import { test } from 'tap';
import { runScenarioFile, scenarioFolder } from '../lab/scenario-file.js';

for (const file of readdirSync(scenarioFolder).sort()) {
  test(file, (t) => runScenarioFile(t, file));
}
