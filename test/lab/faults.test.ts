import { test } from 'tap';
import { runScenarioFile } from './scenario-file.js';

/** A few of the faults, for every run of the suite. All of them: npm run test:faults. */
for (const file of ['host-and-leader.yaml', 'partition-one-way.yaml', 'etcd-majority-lost.yaml']) {
  test(file, (t) => runScenarioFile(t, file));
}
