import { test } from 'tap';
import { failoverKey } from '../../src/control/keys.js';
import type { FailoverRecord } from '../../src/control/records.js';
import { OwnerLog } from '../../src/lab/lab-judge.js';
import { World, web1, web2 } from '../control/world.js';

const record: FailoverRecord = {
  id: 'web1-2',
  kind: 'personality',
  name: 'web1',
  from: 'h1',
  fromIncarnation: 1,
  to: 'h4',
  epoch: 2,
  cause: 'lease-expired',
  reason: '',
  evidence: [],
  committedBy: 'h2',
  atUnixMs: 0,
  zeroMs: 0,
  votedMs: 0,
  commitMs: 0,
  bootId: 'boot',
};

test('who was given a role, in order, also where a change of the store was missed', (t) => {
  const world = new World();
  const log = new OwnerLog();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  log.look(world.view);
  // Two failovers while nobody looked: their records tell.
  world.write(failoverKey('web1-2'), record);
  world.assign(web1, 'h1', { epoch: 3 });
  log.look(world.view);
  world.assign(web2, null, { epoch: 2 });
  log.look(world.view);
  world.assign(web2, 'h3', { epoch: 3 });
  log.look(world.view);
  const owners = log.owners(world.view);
  t.same(owners.get('02:00:00:00:00:11'), ['h1', 'h4', 'h1']);
  t.same(owners.get('02:00:00:00:00:12'), ['h2', 'h3'], 'with nobody in between');
  t.same(owners.get('02:00:00:00:01:00'), [], 'the service’s own, not placed yet');
  t.end();
});
