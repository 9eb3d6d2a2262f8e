import { test } from 'tap';
import { statusOfView } from '../../src/agent/cluster-status.js';
import { statusText } from '../../src/cli/run/status.js';
import { reportKey } from '../../src/control/keys.js';
import type { PersonalityReport } from '../../src/control/records.js';
import { World, web1, web2 } from './world.js';

const disk = {
  ...{ name: 'web1-data', lun: 0, device: '/dev/loop0', mount: '/srv', portal: '10.77.0.1:3260' },
  ...{ target: 'iqn.2026-11.example:web1', targetLun: 1, serial: 's', sizeBytes: 64 << 20 },
};

function withReport(changes: Partial<PersonalityReport>): World {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  const running = { name: 'web1', epoch: 1, phase: 'running', detail: '', volumes: [disk] };
  const personalities = [{ ...running, ...changes }];
  world.write(reportKey('h1'), {
    ...{ incarnation: 1, granting: true, services: [], health: [] },
    personalities,
  });
  return world;
}

test('a controller that is no longer heard grants nothing, whatever it said last', (t) => {
  const world = withReport({});
  const granting = () =>
    statusOfView(world.view, 'h2')?.hosts.find(({ name }) => name === 'h1')?.granting;
  t.equal(granting(), true);
  world.vote('h1', 1, 'h2');
  world.vote('h1', 1, 'h3');
  t.equal(granting(), false);
  t.end();
});

test('what runs and is not well says why', (t) => {
  const trouble = '10.77.0.1:3260: no answer in 1000 ms';
  const still = withReport({ volumes: [{ ...disk, trouble }] });
  const failing = withReport({ failures: { count: 3, last: 'exit code 1' } });
  const says = (world: World) => {
    const status = statusOfView(world.view, 'h2');
    if (status === undefined) throw new Error('no status');
    return [status.personalities[0]?.reason, statusText(status)] as const;
  };
  const [stillReason, stillText] = says(still);
  t.equal(stillReason, `web1-data stands still: ${trouble}`);
  t.match(stillText, `web1 is running: web1-data stands still: ${trouble}`);
  const [failingReason, failingText] = says(failing);
  t.match(failingReason, /3 in a row: exit code 1/);
  t.match(failingText, /web1 is running: its workload failed, 3 in a row/);
  t.notMatch(says(withReport({}))[1], /web1 is running/);
  t.end();
});
