import { test } from 'tap';
import { decode } from '../../src/observe/frames.js';
import { PcapReader } from '../../src/observe/pcap.js';

const garp = Buffer.from(
  'ffffffffffff02000000001108060001080006040001020000000011' + '0a0a000b0000000000000a0a000b',
  'hex',
);

test('an announcement is read, also inside VXLAN and under a tag', (t) => {
  const arp = {
    operation: 'request',
    senderMac: '02:00:00:00:00:11',
    senderIp: '10.10.0.11',
    targetIp: '10.10.0.11',
  };
  t.match(decode(garp), { destination: 'ff:ff:ff:ff:ff:ff', source: '02:00:00:00:00:11', arp });
  const tagged = Buffer.concat([
    garp.subarray(0, 12),
    Buffer.from('81000064', 'hex'),
    garp.subarray(12),
  ]);
  t.match(decode(tagged), { vlan: 100, arp });
  const outer = Buffer.from(
    '020000000002020000000001' +
      '0800' + // Ethernet
      '4500004e000040004011000' +
      '00a420001' +
      '0a420002' + // IPv4, 10.66.0.1 to 10.66.0.2
      'c00012b5003a0000' + // UDP to 4789
      '0800000000006400', // VNI 100
    'hex',
  );
  t.match(decode(Buffer.concat([outer, garp])), {
    ip: { source: '10.66.0.1', destination: '10.66.0.2' },
    vxlan: { vni: 100, inner: { arp } },
  });
  t.end();
});

test('short and odd frames are no error', (t) => {
  for (let length = 0; length < garp.length; length++) {
    t.doesNotThrow(() => decode(garp.subarray(0, length)));
  }
  t.equal(decode(garp.subarray(0, 13)), undefined);
  t.end();
});

test('a capture is read in whatever pieces it comes', (t) => {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  const record = Buffer.alloc(16);
  record.writeUInt32LE(5, 0);
  record.writeUInt32LE(250_000, 4);
  record.writeUInt32LE(garp.length, 8);
  record.writeUInt32LE(garp.length, 12);
  const stream = Buffer.concat([header, record, garp, record, garp]);
  const reader = new PcapReader();
  const frames = [...stream].flatMap((octet) => reader.push(Buffer.from([octet])));
  t.equal(frames.length, 2);
  t.equal(frames[0]?.atMs, 5_250);
  t.same(frames[1]?.frame, garp);
  t.throws(() => new PcapReader().push(Buffer.alloc(24)), /not a little-endian pcap/);
  t.end();
});
