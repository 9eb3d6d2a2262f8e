import { test } from 'tap';
import { put } from '../../src/agent/transactions.js';
import { drainedKey } from '../../src/control/keys.js';
import type { AuditRecord, EventRecord } from '../../src/control/records.js';
import { type View, ViewKeeper } from '../../src/control/view.js';
import { applyConfig, meantFor } from '../../src/operate/apply.js';
import { auditOf, auditOperations, personHere } from '../../src/operate/audit.js';
import { drain } from '../../src/operate/drain.js';
import { fenced } from '../../src/operate/fenced.js';
import { move } from '../../src/operate/move.js';
import { MemoryStore } from '../../src/store/memory.js';
import { clusterConfig } from '../control/world.js';

const alice = { who: 'alice', from: 'command line on h9', host: 'h9' };

/** A store in which web1 is on h1, and h3 was voted out while it carried web2, not enforced. */
async function cluster() {
  const store = new MemoryStore();
  await applyConfig(store, clusterConfig(), alice);
  const host = (name: string, enforced = true) =>
    put(`hosts/${name}`, { incarnation: 1, bootToken: name, enforced });
  const assigned = { incarnation: 1, epoch: 1, state: 'assigned', cause: 'placed', reason: '' };
  const vote = { state: 'expired', lastAckAgoMs: 210, atMs: 1, bootId: 'b' };
  await store.transact({
    compare: [],
    write: [
      ...[host('h1'), host('h2'), host('h3', false), host('h4')],
      put('assign/personality/web1', { ...assigned, host: 'h1', to: null, failover: null }),
      put('assign/personality/web2', { ...assigned, host: 'h3', to: null, failover: null }),
      ...['h1', 'h2'].map((controller) => put(`votes/h3/1/${controller}`, vote)),
    ],
  });
  const view = async (): Promise<View> => {
    const keeper = new ViewKeeper();
    keeper.reset((await store.list('')).entries);
    return keeper.view;
  };
  const audit = async () =>
    (await store.list('audit/')).entries.map(({ value }) => JSON.parse(value) as AuditRecord);
  return { store, view, audit };
}

test('every change leaves its entry, in the transaction of the change', async (t) => {
  const { store, view, audit } = await cluster();
  await drain(store, await view(), { host: 'h2', drained: true }, alice);
  await drain(store, await view(), { host: 'h2', drained: false }, alice);
  await move(store, await view(), 'web1', 'h4', alice);
  await fenced(store, await view(), 'h3', true, alice);
  const told = (await audit()).map(({ what, subject, who, from }) => [what, subject, who, from]);
  const whence = ['alice', 'command line on h9'];
  t.strictSame(
    told.sort(),
    [
      ['apply', 'demo', ...whence],
      ['drain', 'h2', ...whence],
      ['fenced', 'h3', ...whence],
      ['move', 'web1', ...whence],
      ['undrain', 'h2', ...whence],
    ].sort(),
  );
  const events = (await store.list('events/')).entries.map(
    ({ value }) => JSON.parse(value) as EventRecord,
  );
  t.equal(events.filter(({ kind }) => kind === 'change').length, 5);
  t.match(events.find(({ subject }) => subject === 'web1')?.text, /from h1 to h4 \(alice, command/);
  const { entries } = await store.list('');
  const drainedWith = entries.find(({ key }) => key === 'assign/personality/web1')?.modRevision;
  const entry = entries.find(({ key, value }) => key.startsWith('audit/') && /"move"/.test(value));
  t.equal(entry?.modRevision, drainedWith, 'written together');
  t.equal((await view()).lastChange?.value.who, 'alice');
});

test('what is refused, or changes nothing, leaves none', async (t) => {
  const { store, view, audit } = await cluster();
  await t.rejects(drain(store, await view(), { host: 'h9', drained: true }, alice));
  await t.rejects(move(store, await view(), 'web1', 'h1', alice));
  await t.rejects(fenced(store, await view(), 'h3', false, alice));
  t.throws(() => meantFor('demo', { ...clusterConfig(), cluster: 'other' }, 'f.yaml'), {
    code: 'US_APPLY_CLUSTER',
  });
  await applyConfig(store, clusterConfig(), alice);
  const stop = () => {
    throw new Error('not this');
  };
  await t.rejects(applyConfig(store, clusterConfig({ volumes: [] }), alice, stop), /not this/);
  const stale = await view();
  await move(store, stale, 'web1', 'h4', alice);
  await t.rejects(move(store, stale, 'web1', 'h2', alice), { code: 'US_MOVE_REFUSED' });
  t.strictSame(
    (await audit()).map(({ what }) => what),
    ['apply', 'move'],
  );
  t.equal(await store.get(drainedKey('h9')), undefined);
});

test('a move to a host that is drained is refused: it would be moved on at once', async (t) => {
  const { store, view } = await cluster();
  await drain(store, await view(), { host: 'h4', drained: true }, alice);
  await t.rejects(move(store, await view(), 'web1', 'h4', alice), {
    code: 'US_MOVE_REFUSED',
    reason: 'h4 is drained',
  });
  t.equal((await view()).assignments.get('personality/web1')?.value.state, 'assigned');
});

test('names and details are text of one line, within a bound', (t) => {
  const [first] = auditOperations(
    { who: `a\nb\u001b[31m${'x'.repeat(5_000)}`, from: 'API', host: 'Host.Example/..' },
    { what: 'drain', subject: 'h1', detail: 'd' },
  );
  t.match(first, { kind: 'put', key: /^audit\/\d{15}-host-example----\d{6}$/ });
  const record = auditOf(first?.kind === 'put' ? first.value : '');
  t.match(record?.who, /^a b \[31mx+…$/);
  t.ok((record?.who.length ?? 0) <= 501);
  t.equal(auditOf('{'), undefined);
  t.equal(auditOf('{"who":1}'), undefined);
  t.end();
});

test('the person is the one who called, also through sudo', (t) => {
  t.match(personHere({}).from, /^command line on \S/);
  t.match(personHere({ SUDO_USER: 'alice' }).who, /^alice \(as \S+\)$/);
  t.end();
});
