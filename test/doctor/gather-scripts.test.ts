import { test } from 'tap';
import type { HealthConfig } from '../../src/config/types.js';
import { gatherScripts, scriptWarnings } from '../../src/doctor/gather-scripts.js';
import { clusterConfig } from '../control/world.js';

const checkedBy = (health: HealthConfig) => {
  const plain = clusterConfig();
  return { ...plain, services: plain.services.map((service) => ({ ...service, health })) };
};
const gone = '/usr/local/lib/understudy-no-such-check';

test('a script that is missing is told to whoever may carry a member, and by plan', (t) => {
  const config = checkedBy({ script: [gone, '-x'], everyMs: 2_000 });
  const trouble = 'it is not there';
  t.same(gatherScripts(config, 'h1'), [{ service: 'web', program: gone, trouble }]);
  t.same(gatherScripts(config, 'somebody-else'), [], 'no member can come there');
  t.equal(gatherScripts(undefined, 'h1'), undefined);
  const [warning = '', ...more] = scriptWarnings(config);
  t.same(more, []);
  t.match(warning, /health check of web cannot be run on this machine: .*no-such-check: it is not/);
  t.end();
});

test('nothing is said of one that can be run, and of other checks', (t) => {
  const config = checkedBy({ script: ['/bin/sh'], everyMs: 2_000 });
  t.match(gatherScripts(config, 'h1'), [{ program: '/bin/sh', trouble: undefined }]);
  t.same(scriptWarnings(config), []);
  t.same(gatherScripts(checkedBy({ tcp: 80, everyMs: 200 }), 'h1'), []);
  t.end();
});
