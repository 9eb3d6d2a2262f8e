import { test } from 'tap';
import { statusOfView } from '../../src/agent/cluster-status.js';
import { dispatchSpec } from '../../src/agent/specs.js';
import { allocationKey } from '../../src/control/keys.js';
import { World, web, web1, web2 } from '../control/world.js';

test('who may read the status does not get to know by what seed clients are shared out', (t) => {
  const seed = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';
  const world = new World();
  world.write(allocationKey, { macs: {}, seeds: { web: seed } });
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h3');
  const service = world.view.config?.value.config.services[0];
  if (service === undefined) throw new Error('no service');
  t.equal(dispatchSpec(world.view, service, 1).seed, seed, 'it is in use');
  const status = statusOfView(world.view, 'h1');
  t.match(status, { services: [{ name: 'web' }] });
  t.notMatch(JSON.stringify(status), seed);
  t.end();
});
