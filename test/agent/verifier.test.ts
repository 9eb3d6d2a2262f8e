import { test } from 'tap';
import { Deliveries } from '../../src/agent/deliveries.js';
import { put } from '../../src/agent/transactions.js';
import { Verifier } from '../../src/agent/verifier.js';
import { assignmentKey, failoverKey, reportKey } from '../../src/control/keys.js';
import type { Phase, StepsRecord } from '../../src/control/records.js';
import { IdleNetwork } from './idle-adapters.js';
import { openStage, quiet } from './stage.js';

const mac = '02:00:00:00:00:11';

class Answering extends IdleNetwork {
  override async probe(_from: string, _network: string, address: string) {
    return { address, mac };
  }
}

test('a verification is counted from when the record of the failover came, not from its own start', async (t) => {
  const { store, watch, clock, timers, journal, until, signal } = await openStage(t, 'h2');
  const deliveries = new Deliveries(watch, clock);
  const network = new Answering();
  const parts = { host: 'h2', bootId: 'own', watch, network, clock, deliveries, journal };
  const verifier = new Verifier({ ...parts, log: quiet, timers });
  verifier.start();
  t.teardown(() => verifier.stop());
  watch.start(signal);
  const write = (...puts: readonly ReturnType<typeof put>[]) =>
    store.transact({ compare: [], write: puts });
  const assigned = (host: string, failover: string | null) => {
    const base = { host, incarnation: 1, epoch: 2, state: 'assigned', to: null };
    return { ...base, cause: 'lease-expired', reason: '', failover };
  };
  const report = (host: string, name: string, phase: Phase) => {
    const personality = { name, epoch: 2, phase, detail: '', volumes: [] };
    const rest = { leased: true, services: [], health: [] };
    return put(reportKey(host), { incarnation: 1, personalities: [personality], ...rest });
  };

  clock.ms = 5_000;
  const record = {
    id: 'web1-2',
    kind: 'personality',
    name: 'web1',
    from: 'h1',
    to: 'h3',
    epoch: 2,
  };
  const origin = { bootId: 'other', zeroMs: 0, votedMs: 0, commitMs: 0, evidence: [], reason: '' };
  await write(
    put(failoverKey('web1-2'), { ...record, ...origin, committedBy: 'h1', atUnixMs: 0 }),
    put(assignmentKey('personality', 'web1'), assigned('h3', 'web1-2')),
    put(assignmentKey('personality', 'web2'), assigned('h2', null)),
    report('h2', 'web2', 'running'),
    report('h3', 'web1', 'starting'),
  );
  await until(() => watch.view.failovers.has('web1-2'));
  clock.ms = 25_000;
  await write(report('h3', 'web1', 'running'));
  await until(() => watch.view.steps.get('web1-2')?.has('verifier') === true);
  const steps = watch.view.steps.get('web1-2')?.get('verifier')?.value as StepsRecord;
  t.match(steps, { heardMs: 5_000, outcome: 'ok', steps: [{ name: 'verify', startMs: 25_000 }] });

  clock.ms = 30_000;
  await store.transact({ compare: [], write: [{ kind: 'delete', key: failoverKey('web1-2') }] });
  await until(() => !watch.view.failovers.has('web1-2'));
  t.equal(deliveries.heardMs('web1-2'), 30_000, 'what is on record no longer is forgotten');
});
