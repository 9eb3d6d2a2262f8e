import { test } from 'tap';
import { PortalWatch } from '../../src/agent/portal-watch.js';
import type { PersonalityReport } from '../../src/control/records.js';
import { VirtualTimers } from '../store/virtual-timers.js';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

const report = (phase: PersonalityReport['phase']): PersonalityReport => ({
  ...{ name: 'web1', epoch: 1, phase, detail: '' },
  volumes: [
    {
      ...{ name: 'data', lun: 0, device: '/dev/loop0', mount: '/srv', portal: '10.77.0.1:3260' },
      ...{ target: 'iqn.2026-11.example:web1', targetLun: 1, serial: 's', sizeBytes: 1 },
    },
  ],
});

function stage(phase: PersonalityReport['phase'] = 'running') {
  const timers = new VirtualTimers();
  const run = {
    asked: [] as string[],
    failure: undefined as string | undefined,
    trouble: undefined as string | undefined,
    portals: ['10.77.0.1:3260', '10.78.0.1:3260'],
    told: [] as string[],
    reports: 0,
    waits: false,
    abandoned: 0,
  };
  const watch = new PortalWatch({
    timers,
    log,
    personalities: () => [report(phase)],
    portalsOf: () => run.portals,
    failure: async (portals, signal) => {
      run.asked.push(portals.join(' '));
      if (run.waits) {
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => {
            run.abandoned += 1;
            reject(new Error('called off'));
          }),
        );
      }
      return run.failure;
    },
    trouble: (personality, lun) => run.trouble && `${personality}/${lun}: ${run.trouble}`,
    onChange: (personality, volume, trouble) => {
      run.told.push(`${personality} ${volume} ${trouble ?? 'well'}`);
    },
    onReport: () => {
      run.reports += 1;
    },
  });
  const trouble = () => watch.tell(report(phase)).volumes[0]?.trouble;
  return { timers, run, watch, trouble };
}

test('a disk whose portals are away is told after two looks, and again when one answers', async (t) => {
  const { timers, run, watch, trouble } = stage();
  await timers.runMs(10_000);
  t.equal(run.asked[0], '10.77.0.1:3260 10.78.0.1:3260', 'all portals of the file are asked');
  t.same([run.told, run.reports, trouble()], [[], 0, undefined]);
  run.failure = '10.77.0.1:3260: no answer in 1000 ms';
  await timers.runMs(2_000);
  t.same([run.told, trouble()], [[], undefined], 'one miss is none');
  await timers.runMs(2_000);
  t.equal(trouble(), run.failure);
  await timers.runMs(60_000);
  t.same([run.told.length, run.reports], [1, 1], 'told once, however long it lasts');
  run.failure = '10.77.0.1:3260: connect ECONNREFUSED';
  await timers.runMs(2_000);
  t.equal(run.told.length, 1, 'another reason is no other trouble');
  run.failure = undefined;
  await timers.runMs(2_000);
  t.same(run.told, ['web1 data 10.77.0.1:3260: no answer in 1000 ms', 'web1 data well']);
  t.same([run.reports, trouble()], [2, undefined]);
  await watch.stop();
});

test('a takeover is left alone, and so is a volume that the file no longer has', async (t) => {
  const starting = stage('starting');
  await starting.timers.runMs(10_000);
  t.same(starting.run.asked, []);
  await starting.watch.stop();
  const gone = stage();
  gone.run.portals = [];
  gone.run.failure = 'never asked';
  await gone.timers.runMs(10_000);
  t.same([gone.run.asked, gone.trouble()], [[], undefined]);
  await gone.watch.stop();
});

test('one look at a time; a stop ends the one that waits', async (t) => {
  const { timers, run, watch } = stage();
  run.waits = true;
  await timers.runMs(20_000);
  t.equal(run.asked.length, 1);
  await watch.stop();
  t.equal(run.abandoned, 1);
});

test('a disk whose portal answers and whose session is not logged in is told as well', async (t) => {
  const { timers, run, watch, trouble } = stage();
  run.failure = '10.77.0.1:3260: no answer in 1000 ms';
  await timers.runMs(4_000);
  run.trouble = 'US_STORAGE_SESSION';
  t.equal(trouble(), run.failure, 'the portal first');
  run.failure = undefined;
  await timers.runMs(2_000);
  t.equal(trouble(), 'web1/0: US_STORAGE_SESSION');
  t.equal(run.told.length, 1, 'it stands still as before');
  run.trouble = undefined;
  await timers.runMs(2_000);
  t.same([run.told.at(-1), trouble()], ['web1 data well', undefined]);
  await watch.stop();
});
