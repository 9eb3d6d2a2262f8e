import { test } from 'tap';
import { newestOfEachHost } from '../../src/agent/taking-control.js';
import { stepGrants } from '../../src/control/lease/controller.js';
import { noGrants } from '../../src/control/lease/grants.js';

const term = {
  inheritedUntilNs: 0n,
  controlled: true,
  leaseNs: 200_000_000n,
  marginPercent: 1,
  longer: null,
  sets: { lowest: 0, newest: 0 },
};

test('what pulse is told does not grow with a cluster’s history', async (t) => {
  const history = Array.from({ length: 50_000 }, (_, index) => [
    { host: `h${index % 100}`, incarnation: index + 1 },
    { host: `h${index % 100}`, incarnation: index + 1 },
  ]).flat();
  const told = newestOfEachHost(history);
  t.equal(told.length, 400);
  t.ok(told.some(({ host, incarnation }) => host === 'h99' && incarnation === 50_000));
});

test('an incarnation that pulse was not told of by name is refused all the same', async (t) => {
  const stopped = [1, 2, 3, 4, 5, 6].map((incarnation) => ({ host: 'h1', incarnation }));
  let grants = noGrants;
  for (const { incarnation } of newestOfEachHost(stopped)) {
    grants = stepGrants(grants, { kind: 'stop', incarnation, onlyIfLapsed: false }, 0n, term).state;
  }
  for (const { incarnation } of stopped) {
    const beat = { nonce: 'a', seq: 1n, sentAtNs: 1n, echo: 0n, ackId: 7n, wishNs: 0n, set: 0 };
    const { outputs } = stepGrants(grants, { kind: 'heartbeat', incarnation, ...beat }, 1n, term);
    t.match(outputs, [{ kind: 'answer', answer: 'refuse' }], String(incarnation));
  }
});
