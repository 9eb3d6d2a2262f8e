import { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { apply, controlled, settled } from './controllers.js';
import { incarnationOf, openLab } from './harness.js';

test('a host that is voted out over a change of controllers and comes back holds up nothing', async (t) => {
  const { stage, lab } = await openLab(t, 'expel', {}, controlled(['h1', 'h2', 'h3']));
  await settled(stage, ['h1', 'h2', 'h3']);
  const before = await stage.status();
  const spare = personality(before, 'web1').host === 'h4' ? 'h5' : 'h4';
  const agent = lab.machine(spare).daemon('agent');
  // A host without an agent, on which nothing works, lets its lease run out.
  agent.signal('STOP');
  await stage.until(
    `${spare} is voted out`,
    ({ hosts }) => hosts.some(({ name, state }) => name === spare && state === 'expired'),
    20_000,
  );
  await apply(lab, ['h1', 'h2', 'h6']);
  await settled(stage, ['h1', 'h2', 'h6']);
  agent.signal('CONT');
  const incarnation = incarnationOf(before, spare);
  await stage.until(
    `${spare} is enrolled anew`,
    (status) => incarnationOf(status, spare) > incarnation,
    20_000,
  );
  // It has no lease for five seconds yet: its agent has to stay first.
  t.equal((await stage.status()).controllersChange, null, 'the change stays over');
  await apply(lab, ['h1', 'h6', 'h7']);
  await settled(stage, ['h1', 'h6', 'h7']);
});
