import { test } from 'tap';
import { nextEntry, staleReason } from '../../src/storage/mask-ledger.js';
import { maskOrders, sharedTargets } from '../../src/storage/mask-orders.js';
import { parseConnections, parseTargets } from '../../src/storage/tgt-control.js';
import { initiatorName } from '../../src/storage/types.js';
import { configWith } from './cluster-file.js';

test('each target lets in the host of the personality that has its volume', async (t) => {
  const config = configWith(
    { a: 'iqn.t:a', b: 'iqn.t:b', c: 'iqn.t:c' },
    { web1: ['a'], web2: ['b'] },
  );
  const assignments = new Map([['web1', { host: 'h4', epoch: 2 }]]);
  t.same(maskOrders(config, assignments, 7), [
    {
      target: 'iqn.t:a',
      luns: [1],
      personality: 'web1',
      generation: 7,
      epoch: 2,
      host: 'h4',
      initiator: 'iqn.2026-11.io.understudy:test.web1.h4.e2',
    },
    {
      target: 'iqn.t:b',
      luns: [1],
      personality: 'web2',
      generation: 7,
      epoch: 0,
      host: null,
      initiator: undefined,
    },
    {
      target: 'iqn.t:c',
      luns: [],
      personality: '',
      generation: 7,
      epoch: 0,
      host: null,
      initiator: undefined,
    },
  ]);
});

test('a planned move changes no mask; the order only names it', async (t) => {
  const config = configWith({ a: 'iqn.t:a' }, { web1: ['a'] });
  const [before] = maskOrders(config, new Map([['web1', { host: 'h4', epoch: 2 }]]));
  const [moving] = maskOrders(config, new Map([['web1', { host: 'h4', epoch: 2, move: 17 }]]));
  t.same(moving, { ...before, move: 17 });
});

test('an unplaced personality lets in nobody; two LUNs of one target are one order', async (t) => {
  const config = configWith({ a: 'iqn.t:a', b: 'iqn.t:a' }, { web1: ['a', 'b'] });
  t.match(maskOrders(config, new Map([['web1', { host: null, epoch: 3 }]])), [
    { target: 'iqn.t:a', luns: [1, 2], epoch: 3, initiator: undefined },
  ]);
});

test('a target of two personalities is left alone and named', async (t) => {
  const config = configWith({ a: 'iqn.t:a', b: 'iqn.t:a' }, { web1: ['a'], web2: ['b'] });
  t.same(maskOrders(config, new Map()), []);
  t.same([...sharedTargets(config)], [['iqn.t:a', ['web1', 'web2']]]);
});

test('a target that reservations fence has no mask', async (t) => {
  const config = configWith({ a: 'iqn.t:a', b: 'iqn.t:b' }, { web1: ['a', 'b'] });
  const volumes = config.volumes.map((one) =>
    one.name === 'a' ? ({ ...one, fence: 'reservation' } as const) : one,
  );
  t.match(maskOrders({ ...config, volumes }, new Map()), [{ target: 'iqn.t:b' }]);
});

test('no two hosts, and no two epochs, have the same initiator name', async (t) => {
  const names = ['h1', 'h2'].flatMap((host) =>
    [1, 2].map((epoch) => initiatorName('test', 'web1', host, epoch)),
  );
  t.equal(new Set(names).size, 4);
  const label = 'x'.repeat(63);
  t.ok(initiatorName(label, label, label, 9999).length <= 223, 'RFC 7143 4.2.7.1');
});

test('older orders are refused', async (t) => {
  const order = (
    epoch: number,
    host: string | undefined,
    personality = 'web1',
    generation = 1,
  ) => ({
    target: 'iqn.t:a',
    epoch,
    personality,
    generation,
    initiator: host === undefined ? undefined : initiatorName('test', personality, host, epoch),
  });
  const last = nextEntry(undefined, order(2, 'h2'));
  t.equal(staleReason(undefined, order(1, 'h1')), undefined);
  t.match(staleReason(last, order(1, 'h1')), /epoch 2/);
  t.equal(staleReason(last, order(2, 'h2')), undefined, 'the same again');
  t.equal(staleReason(last, order(3, 'h1')), undefined);
  t.match(staleReason(last, order(2, 'h1')), /was given to/, 'one epoch, two hosts');
  t.equal(staleReason(last, order(2, undefined)), undefined, 'nobody is always less');
  const closed = nextEntry(last, order(2, undefined));
  t.match(staleReason(closed, order(2, 'h1')), /was given to/, 'also after it was closed');
  t.match(staleReason(last, order(9, 'h1', 'web2')), /belongs to web1/);
  t.equal(staleReason(last, order(1, 'h1', 'web2', 2)), undefined, 'a newer configuration');
});

test('what tgtadm prints', async (t) => {
  const shown = `Target 1: iqn.t:a
    System information:
        Driver: iscsi
    I_T nexus information:
        I_T nexus: 3
            Initiator: iqn.i:x alias: none
            Connection: 0
                IP Address: 127.0.0.1
    LUN information:
        LUN: 0
            Type: controller
    Account information:
    ACL information:
        ALL
        10.0.0.0/8
        iqn.i:x
Target 2: iqn.t:b
    System information:
    ACL information:
`;
  t.same(parseTargets(shown), [
    { tid: 1, name: 'iqn.t:a', admitted: ['ALL', '10.0.0.0/8', 'iqn.i:x'] },
    { tid: 2, name: 'iqn.t:b', admitted: [] },
  ]);
  t.same(parseTargets(''), []);
  t.same(
    parseConnections(`Session: 3
    Connection: 0
        Initiator: iqn.i:x
        IP Address: 127.0.0.1
Session: 9
    Connection: 1
        Initiator: iqn.i:y
`),
    [
      { session: 3, connection: 0, initiator: 'iqn.i:x', address: '127.0.0.1' },
      { session: 9, connection: 1, initiator: 'iqn.i:y', address: '' },
    ],
  );
});
