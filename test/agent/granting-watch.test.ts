import { test } from 'tap';
import { everybodyHeard } from '../../src/agent/granting-watch.js';
import { enrolledIncarnations } from '../../src/control/votes.js';
import { World } from '../control/world.js';

const heard = (host: string, lastAckAgoMs: number | null) => ({
  host,
  incarnation: 1,
  lastAckAgoMs,
  lapsed: false,
});

test('a controller grants to everybody only when it has heard every host that is enrolled', (t) => {
  t.notOk(everybodyHeard([heard('h1', 10)], ['h1/1', 'h2/1']), 'h2 was never heard');
  t.notOk(everybodyHeard([heard('h1', 10), heard('h2', null)], ['h1/1', 'h2/1']));
  t.notOk(everybodyHeard([heard('h1', 10)], ['h1/2']), 'an earlier incarnation');
  t.ok(everybodyHeard([heard('h1', 10), heard('h2', 10)], ['h1/1', 'h2/1']));
  t.end();
});

test('a host that was shut out is not waited for', (t) => {
  const world = new World();
  world.retire('h1', 1);
  world.vote('h2', 1, 'h1');
  world.vote('h2', 1, 'h3');
  t.same(enrolledIncarnations(world.view), ['h3/1', 'h4/1']);
  t.end();
});
