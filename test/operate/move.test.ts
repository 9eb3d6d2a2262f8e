import { test } from 'tap';
import { moveTarget } from '../../src/operate/move.js';
import { clusterConfig, World, web1, web2 } from '../control/world.js';

/** h4 may carry one personality; web1 is on h1. */
function world(): World {
  const config = clusterConfig();
  const hosts = config.hosts.map((host) => (host.name === 'h4' ? { ...host, capacity: 1 } : host));
  const found = new World({ ...config, hosts });
  found.assign(web1, 'h1');
  return found;
}

const refused = (cause: RegExp) => ({ code: 'US_MOVE_REFUSED', message: cause });

test('a personality is moved to a host that is named only where that has room', (t) => {
  const free = world();
  t.equal(moveTarget(free.view, web1, 'h4'), 'h4');
  const full = world();
  full.assign(web2, 'h4');
  t.throws(() => moveTarget(full.view, web1, 'h4'), refused(/h4 has no room.*capacity is 1/));
  const coming = world();
  coming.assign(web2, 'h2', { state: 'draining', to: 'h4' });
  t.throws(
    () => moveTarget(coming.view, web1, 'h4'),
    refused(/no room/),
    'what is on its way counts',
  );
  full.vote('h4', 1, 'h2');
  t.throws(() => moveTarget(full.view, web1, 'h4'), refused(/no room/), 'a vote makes no room');
  t.end();
});

test('where a personality may not be moved to', (t) => {
  const cluster = world();
  for (const [to, cause] of [
    ['h9', /no host of this cluster/],
    ['h1', /on h1 already/],
    ['h2', /not up/],
    ['h3', /drained/],
  ] as const) {
    if (to === 'h2') cluster.retire('h2', 1);
    if (to === 'h3') cluster.drain('h3');
    t.throws(() => moveTarget(cluster.view, web1, to), refused(cause));
  }
  t.end();
});
