import { createHmac, randomBytes } from 'node:crypto';
import { test } from 'tap';
import {
  decodePacket,
  encodePacket,
  longestPacketBytes,
  type Packet,
} from '../../src/pulse/packet.js';
import { Random } from '../control/lease/world-parts.js';

const key = Buffer.from('the key of this cluster, and no other');
const packet: Packet = {
  type: 'heartbeat',
  sender: 'h1',
  receiver: 'c1',
  incarnation: 0xffff_fffe,
  nonce: '00112233445566778899aabbccddeeff',
  seq: 2n ** 63n + 5n,
  sentAtNs: 123_456_789_012n,
  ackId: 42n,
  leaseNs: 200_000_000n,
  set: 0x0102,
};

test('what is encoded is decoded', async (t) => {
  for (const type of ['heartbeat', 'ack', 'challenge', 'refuse'] as const) {
    for (const name of ['a', 'host-1.example', 'n'.repeat(63)]) {
      const whole = { ...packet, type, sender: name, receiver: `${name}`.slice(1) || 'b' };
      t.same(decodePacket(encodePacket(whole, key), key), whole);
    }
  }
});

test('the layout is fixed', async (t) => {
  const bytes = encodePacket(packet, key);
  t.equal(bytes.toString('latin1', 0, 2), 'US');
  t.same([...bytes.subarray(2, 8)], [1, 1, 2, 2, 1, 2]);
  t.equal(bytes.readUInt32BE(8), packet.incarnation);
  t.equal(bytes.toString('latin1', 60, 64), 'h1c1');
  const mac = createHmac('sha256', key).update(bytes.subarray(0, 64)).digest();
  t.same(bytes.subarray(64), mac.subarray(0, 16));
});

test('what ails a host makes it a packet of version 2, with a byte more', async (t) => {
  for (const dark of [false, true]) {
    for (const agentAway of [false, true]) {
      const whole = { ...packet, ailments: { dark, agentAway } };
      const bytes = encodePacket(whole, key);
      t.same(decodePacket(bytes, key), whole);
      t.equal(bytes[2], 2);
      t.equal(bytes[60], (dark ? 1 : 0) + (agentAway ? 2 : 0));
      t.equal(bytes.toString('latin1', 61, 65), 'h1c1');
    }
  }
  const longest = { ...packet, sender: 'n'.repeat(63), receiver: 'm'.repeat(63) };
  const bytes = encodePacket({ ...longest, ailments: { dark: true, agentAway: true } }, key);
  t.equal(bytes.length, longestPacketBytes);
  t.match(decodePacket(bytes, key), longest);
  const asVersion1 = Buffer.from(bytes);
  asVersion1[2] = 1;
  t.type(decodePacket(asVersion1, key), 'string');
});

test('names and nonces that do not fit are refused', async (t) => {
  t.throws(() => encodePacket({ ...packet, sender: 'n'.repeat(64) }, key), RangeError);
  t.throws(() => encodePacket({ ...packet, receiver: '' }, key), RangeError);
  t.throws(() => encodePacket({ ...packet, nonce: 'abc' }, key), RangeError);
});

test('every single changed bit is found', async (t) => {
  const bytes = encodePacket(packet, key);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    if (typeof decodePacket(changed, key) !== 'string') t.fail(`bit ${bit} was not noticed`);
  }
  for (let length = 0; length < bytes.length; length++) {
    if (typeof decodePacket(bytes.subarray(0, length), key) !== 'string')
      t.fail(`cut at ${length}`);
  }
  t.equal(decodePacket(Buffer.concat([bytes, Buffer.alloc(1)]), key), 'malformed');
  t.equal(decodePacket(bytes, randomBytes(32)), 'forged', 'another cluster');
});

test('random bytes are never a packet', async (t) => {
  const random = new Random(20_261);
  for (let count = 0; count < 50_000; count++) {
    const bytes = Buffer.alloc(random.below(longestPacketBytes + 20));
    for (let at = 0; at < bytes.length; at++) bytes[at] = random.below(256);
    if (random.below(2) === 0) encodePacket(packet, key).copy(bytes, 0, 0, random.below(64));
    if (typeof decodePacket(bytes, key) !== 'string') t.fail(bytes.toString('hex'));
  }
  t.pass('none was taken');
});
