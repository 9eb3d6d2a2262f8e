import fc from 'fast-check';
import { test } from 'tap';
import { ipBytes, macBytes, macText } from '../../src/network/addresses.js';
import { announcements } from '../../src/network/announce.js';
import {
  arpRequest,
  neighbourSolicitation,
  parseAdvertisement,
  parseArpReply,
  unsolicitedAdvertisement,
} from '../../src/network/frames.js';
import { answerOf, questionFor } from '../../src/network/probe.js';

const mac = macBytes('02:00:5e:10:20:30');

test('an IPv4 address is announced by both ARP forms, byte for byte', (t) => {
  const frames = announcements({
    network: 'blue',
    mac: '02:00:5e:10:20:30',
    addresses: ['10.10.0.11/24'],
  });
  t.strictSame(
    frames.map((frame) => frame.toString('hex')),
    [
      // to all, from the vMAC, ARP | Ethernet, IPv4, 6, 4, request | sender | target
      'ffffffffffff02005e1020300806' +
        '0001080006040001' +
        '02005e1020300a0a000b' +
        '0000000000000a0a000b',
      'ffffffffffff02005e1020300806' +
        '0001080006040002' +
        '02005e1020300a0a000b' +
        'ffffffffffff0a0a000b',
    ],
  );
  t.end();
});

test('an IPv6 address is announced by an unsolicited advertisement, byte for byte', (t) => {
  const [frame, ...more] = announcements({
    network: 'blue',
    mac: '02:00:5e:10:20:30',
    addresses: ['fd00::11/64'],
  });
  t.equal(more.length, 0);
  t.equal(
    frame?.toString('hex'),
    // to all nodes, from the vMAC, IPv6
    '33330000000102005e10203086dd' +
      // version, length 32, ICMPv6, hop limit 255, source, all nodes
      '60000000' +
      '0020' +
      '3a' +
      'ff' +
      'fd000000000000000000000000000011' +
      'ff020000000000000000000000000001' +
      // advertisement, checksum, override, target, target's link-layer address
      '8800dc3b' +
      '20000000' +
      'fd000000000000000000000000000011' +
      '020102005e102030',
  );
  t.end();
});

test('a question is an ARP request or a solicitation to the solicited-node group', (t) => {
  t.equal(
    arpRequest(mac, ipBytes('10.0.0.1'), ipBytes('10.0.0.2')).toString('hex'),
    'ffffffffffff02005e1020300806000108000604000102005e1020300a0000010000000000000a000002',
  );
  const frame = neighbourSolicitation(mac, ipBytes('fd00::1'), ipBytes('fd00::12:3456'));
  t.equal(frame.toString('hex', 0, 14), '3333ff12345602005e10203086dd');
  t.equal(frame.toString('hex', 38, 54), 'ff0200000000000000000001ff123456');
  t.equal(frame.toString('hex', 62, 86), 'fd000000000000000000000000123456010102005e102030');
  t.end();
});

test('a question is asked from an own address of that family, else from none or the link-local', (t) => {
  const own = [
    { family: 'ipv6' as const, bytes: ipBytes('fd00::1'), prefixLength: 64 },
    { family: 'ipv4' as const, bytes: ipBytes('10.0.0.1'), prefixLength: 24 },
  ];
  t.equal(questionFor(mac, own, ipBytes('10.0.0.2')).toString('hex', 28, 32), '0a000001');
  t.equal(questionFor(mac, [], ipBytes('10.0.0.2')).toString('hex', 28, 32), '00000000');
  t.equal(
    questionFor(mac, [], ipBytes('fd00::2')).toString('hex', 22, 38),
    'fe8000000000000000005efffe102030',
  );
  t.end();
});

test('an ARP reply tells who answered', (t) => {
  const reply = Buffer.from(
    '02005e0000010200000000aa0806' +
      '0001080006040002' +
      '0200000000aa0a000002' +
      '02005e0000010a000001',
    'hex',
  );
  const claim = parseArpReply(reply);
  t.equal(macText(claim?.mac ?? Buffer.alloc(0)), '02:00:00:00:00:aa');
  t.equal(answerOf(claim, ipBytes('10.0.0.2')), '02:00:00:00:00:aa');
  t.equal(answerOf(claim, ipBytes('10.0.0.3')), undefined, 'about another address');
  reply.write('0200000000bb', 6, 'hex');
  t.equal(
    answerOf(parseArpReply(reply), ipBytes('10.0.0.2')),
    '02:00:00:00:00:bb',
    "who answers in another's name is told",
  );
  t.equal(parseArpReply(arpRequest(mac, ipBytes('10.0.0.1'), ipBytes('10.0.0.2'))), undefined);
  for (let length = 0; length < reply.length; length += 1) {
    t.equal(parseArpReply(reply.subarray(0, length)), undefined, `cut at ${length}`);
  }
  t.end();
});

test('an advertisement is believed only when it is valid', (t) => {
  const good = unsolicitedAdvertisement(mac, ipBytes('fd00::11'));
  t.equal(macText(parseAdvertisement(good)?.mac ?? Buffer.alloc(0)), '02:00:5e:10:20:30');
  for (let length = 0; length < good.length; length += 1) {
    t.equal(parseAdvertisement(good.subarray(0, length)), undefined, `cut at ${length}`);
  }
  for (let at = 14; at < good.length; at += 1) {
    // Traffic class and flow label are not ours to check; the two halves of a sum can be exchanged.
    if (at >= 15 && at < 18) continue;
    const bent = Buffer.from(good);
    bent[at] = (bent[at] ?? 0) ^ 0x40;
    t.equal(parseAdvertisement(bent), undefined, `bent at ${at}`);
  }
  const padded = Buffer.concat([good, Buffer.alloc(10)]);
  t.ok(parseAdvertisement(padded), 'padding of the Ethernet frame is no part of it');
  t.end();
});

test('parsing never throws on whatever comes in', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 120 }),
      fc.constantFrom(0x0806, 0x86dd),
      (bytes, type) => {
        const frame = Buffer.from(bytes);
        if (frame.length >= 14) frame.writeUInt16BE(type, 12);
        parseArpReply(frame);
        parseAdvertisement(frame);
      },
    ),
  );
  t.end();
});
