import { test } from 'tap';
import {
  countEach,
  halfLogins,
  parseEstablished,
  plainAddress,
} from '../../src/storage/half-login.js';

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
