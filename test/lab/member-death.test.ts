import { test } from 'tap';
import {
  clusterFile,
  intervalMs,
  killMember,
  service,
  untilBothServe,
} from '../../bench/member-death.js';
import { FlowWatch } from '../../src/observe/flow-watch.js';
import { openLab } from './harness.js';

/** For a machine that is busy with other tests; `npm run bench:health` measures the 10 ms that it is about. */
const busyMs = 400;

test('a member’s process is killed: two checks later no new flow goes to it, until it is back', async (t) => {
  const { stage } = await openLab(t, 'death', {}, clusterFile('CLUSTER'));
  const flows = new FlowWatch(stage.lab, 'c1', service, 80);
  t.teardown(() => flows.stop());
  for (const member of ['web1', 'web2'] as const) {
    await untilBothServe(stage, flows);
    const { refused, lastMs, decidedMs } = await killMember(stage, flows, member);
    t.comment(
      `${member}: ${refused} refused, the last after ${lastMs} ms, decided after ${decidedMs} ms`,
    );
    t.ok(refused > 0, 'flows went to it while nobody knew');
    t.ok(decidedMs <= 2 * intervalMs + busyMs, `decided after ${decidedMs} ms`);
    t.ok(lastMs - decidedMs <= busyMs, `the last flow ${lastMs - decidedMs} ms after that`);
  }
  await untilBothServe(stage, flows);
});
