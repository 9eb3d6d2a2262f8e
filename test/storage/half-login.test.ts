import { test } from 'tap';
import {
  countEach,
  halfLogins,
  othersAddresses,
  parseEstablished,
  plainAddress,
} from '../../src/storage/half-login.js';
import { hostOfInitiator, initiatorName } from '../../src/storage/types.js';

test('established connections, as the kernel lists them', async (t) => {
  const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
   0: 0100007F:0CBC 00000000:0000 0A 00000000:00000000 00:00000000 00000000
   1: 0100000A:0CBC 6500000A:D431 01 00000000:00000000 00:00000000 00000000
   2: 0100000A:0CBC 6500000A:D433 06 00000000:00000000 00:00000000 00000000
   3: 0100000A:0016 6500000A:D435 01 00000000:00000000 00:00000000 00000000
`;
  t.same(parseEstablished(tcp, new Set([3260])), ['10.0.0.101']);
  const tcp6 = `  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0CBC 00000000000000000000000001000000:9C4E 01 0
   1: 0000000000000000FFFF00000100000A:0CBC 0000000000000000FFFF00006500000A:9C4E 01 0
`;
  t.same(parseEstablished(tcp6, new Set([3260])), ['::1', '10.0.0.101']);
  t.equal(plainAddress('[::ffff:10.0.0.1]'), '10.0.0.1');
  t.same(halfLogins(countEach(['a', 'a', 'b']), countEach(['a', 'b'])), ['a']);
});

test('whose an address is, by who is logged in from there', async (t) => {
  const peer = (initiator: string, address: string) => ({ initiator, address });
  const of = (personality: string, host: string) => initiatorName('test', personality, host, 1);
  const peers = [
    ...[peer(of('web1', 'h1'), 'a'), peer(of('web2', 'h1'), 'b')],
    ...[peer(of('web3', 'h2'), 'c'), peer(of('web4', 'h2'), 'd'), peer(of('web5', 'h1'), 'd')],
    peer('iqn.2026-11.example:person', 'e'),
  ];
  const h1 = hostOfInitiator(of('web1', 'h1')) ?? '';
  t.equal(h1, 'test.h1');
  t.not(hostOfInitiator(initiatorName('other', 'web1', 'h1', 1)), h1, 'another cluster’s h1');
  t.equal(hostOfInitiator('iqn.2026-11.example:person'), undefined);
  t.same([...othersAddresses(peers, new Set([h1]))], ['c'], 'd is of both, e of nobody known');
  t.same([...othersAddresses(peers, undefined)], []);
});
