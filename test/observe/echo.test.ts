import { test } from 'tap';
import { echoRequest, internetChecksum, repliedTo } from '../../src/observe/echo.js';

/** An IPv4 header with one word of options, then the message. */
const inIpv4 = (message: Buffer) => {
  const header = Buffer.alloc(24);
  header[0] = 0x46;
  return Buffer.concat([header, message]);
};

const replyOf = (request: Buffer, type: number) => {
  const reply = Buffer.from(request);
  reply[0] = type;
  return reply;
};

test('the checksum is that of RFC 1071', (t) => {
  // The example of its section 3.
  const example = Buffer.from('0001f203f4f5f6f7', 'hex');
  t.equal(internetChecksum(example), ~0xddf2 & 0xffff);
  const request = echoRequest('ipv4', 0x1234, 7);
  t.equal(internetChecksum(request), 0, 'over a message with its checksum');
  t.equal(echoRequest('ipv6', 1, 1).readUInt16BE(2), 0, 'the kernel’s to fill in');
  t.end();
});

test('only a reply to this very pinger is one', (t) => {
  const request = echoRequest('ipv4', 0x1234, 0xfffe);
  const reply = replyOf(request, 0);
  t.equal(repliedTo('ipv4', inIpv4(reply), 0x1234), 0xfffe);
  t.equal(repliedTo('ipv4', inIpv4(reply), 0x1235), undefined, 'another’s');
  t.equal(repliedTo('ipv4', inIpv4(request), 0x1234), undefined, 'one’s own request on lo');
  t.equal(repliedTo('ipv4', inIpv4(reply).subarray(0, 30), 0x1234), undefined, 'cut off');
  t.equal(repliedTo('ipv4', Buffer.alloc(0), 0x1234), undefined);
  t.equal(repliedTo('ipv6', replyOf(echoRequest('ipv6', 9, 3), 129), 9), 3);
  t.equal(repliedTo('ipv6', replyOf(echoRequest('ipv6', 9, 3), 3), 9), undefined);
  t.end();
});
