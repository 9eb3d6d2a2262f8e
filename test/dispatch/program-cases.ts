import type { ClientFlow } from '../../src/dispatch/choose.js';
import {
  authentication,
  be16,
  ethernet,
  extension,
  fragmentHeader,
  icmp,
  ipv4,
  ipv6,
  tcp,
  udp,
} from './packets.js';

/** Frames for the service of program.test.ts, and what is to become of each. */
export const vmac = '02:00:00:00:ff:01';
export const gateway = '02:00:00:00:aa:01';
export const [TCP, UDP, ICMP, ICMPV6] = [6, 17, 1, 58];
const [HOP, ROUTING, FRAGMENT, AH, NONE, DESTINATION] = [0, 43, 44, 51, 59, 60];
export const [v4, v6] = [0x0800, 0x86dd];

/**
 * The stack’s, dropped for a reason, or sent on by this flow (of 40001 to TCP 80 where not said).
 * 'foreign': the stack’s too, and not the service’s, so it is not counted.
 */
export type Expected = 'stack' | 'foreign' | `drop ${string}` | Partial<ClientFlow>;

/** What a client at 10.10.0.200 or fd00::200, port 40001, sends. */
export const client4 = (protocol: number, payload: Uint8Array, more = {}) =>
  ethernet(
    vmac,
    gateway,
    v4,
    ipv4({ from: '10.10.0.200', to: '10.10.0.100', protocol, ...more }, payload),
  );
export const client6 = (next: number, payload: Uint8Array, more = {}) =>
  ethernet(vmac, gateway, v6, ipv6({ from: 'fd00::200', to: 'fd00::100', next, ...more }, payload));
/** What a member sent from the shared address, as an error quotes it. */
const quoted4 = (protocol: number, payload: Uint8Array, more = {}) =>
  ipv4({ from: '10.10.0.100', to: '10.10.0.200', protocol, ...more }, payload);
const quoted6 = (next: number, payload: Uint8Array, more = {}) =>
  ipv6({ from: 'fd00::100', to: 'fd00::200', next, ...more }, payload);
const error4 = (type: number, quote: Uint8Array) =>
  ethernet(
    vmac,
    gateway,
    v4,
    ipv4({ from: '192.0.2.1', to: '10.10.0.100', protocol: ICMP }, icmp(type, quote)),
  );
const error6 = (type: number, quote: Uint8Array) =>
  ethernet(
    vmac,
    gateway,
    v6,
    ipv6({ from: '2001:db8::1', to: 'fd00::100', next: ICMPV6 }, icmp(type, quote)),
  );
export const web = tcp(40001, 80);
const reply = tcp(80, 40001);

const v4Flow: Partial<ClientFlow> = { address: '10.10.0.200' };
const v6Flow: Partial<ClientFlow> = { address: 'fd00::200' };
export const cases: readonly (readonly [string, Buffer, Expected])[] = [
  ['TCP to a port of the service', client4(TCP, web), v4Flow],
  ['TCP to the first of a range', client4(TCP, tcp(40001, 443)), v4Flow],
  ['TCP to the last of a range', client4(TCP, tcp(40001, 445)), v4Flow],
  ['UDP to a port of the service', client4(UDP, udp(40001, 2049)), v4Flow],
  ['an empty UDP datagram', client4(UDP, udp(40001, 2049, Buffer.alloc(0))), v4Flow],
  ['IPv4 options', client4(TCP, web, { options: 40 }), v4Flow],
  [
    'Ethernet padding behind the datagram',
    Buffer.concat([client4(UDP, udp(40001, 2049)), Buffer.alloc(18)]),
    v4Flow,
  ],
  ['don’t-fragment is no fragment', client4(TCP, web, { fragment: 0x4000 }), v4Flow],
  ['total length 0, as of a batch above 64 KiB', client4(TCP, web, { totalBytes: 0 }), v4Flow],
  [
    'first fragment',
    client4(UDP, udp(40001, 2049), { fragment: 0x2000 }),
    { ...v4Flow, fragment: true },
  ],
  [
    'first fragment to a port that is not the service’s',
    client4(UDP, udp(40001, 53), { fragment: 0x2000 }),
    { ...v4Flow, fragment: true },
  ],
  [
    'later fragment',
    client4(UDP, Buffer.alloc(32), { fragment: 0x2003 }),
    { ...v4Flow, fragment: true },
  ],
  ['last fragment', client4(UDP, Buffer.alloc(5), { fragment: 6 }), { ...v4Flow, fragment: true }],
  ['fragment of an echo request', client4(ICMP, Buffer.alloc(32), { fragment: 0x2000 }), 'stack'],
  ['TCP to another port', client4(TCP, tcp(40001, 81)), 'stack'],
  ['TCP to a port that is served by UDP only', client4(TCP, tcp(40001, 2049)), 'stack'],
  ['UDP to a port that is served by TCP only', client4(UDP, udp(40001, 80)), 'stack'],
  ['SCTP', client4(132, web), 'stack'],
  ['echo request', client4(ICMP, icmp(8, Buffer.alloc(8))), 'stack'],
  [
    'to another address',
    ethernet(
      vmac,
      gateway,
      v4,
      ipv4({ from: '10.10.0.200', to: '10.10.0.101', protocol: TCP }, web),
    ),
    'stack',
  ],
  [
    'to another MAC',
    ethernet(
      '02:00:00:00:ff:02',
      gateway,
      v4,
      ipv4({ from: '10.10.0.200', to: '10.10.0.100', protocol: TCP }, web),
    ),
    'foreign',
  ],
  [
    'broadcast frame with a unicast packet',
    ethernet(
      'ff:ff:ff:ff:ff:ff',
      gateway,
      v4,
      ipv4({ from: '10.10.0.200', to: '10.10.0.100', protocol: UDP }, udp(1, 2049)),
    ),
    'foreign',
  ],
  ['ARP', ethernet(vmac, gateway, 0x0806, Buffer.alloc(28)), 'stack'],
  [
    'a VLAN tag inside',
    ethernet(vmac, gateway, 0x8100, Buffer.concat([be16(7, v4), client4(TCP, web).subarray(14)])),
    'foreign',
  ],
  [
    'our own frame come back',
    ethernet(vmac, vmac, v4, ipv4({ from: '10.10.0.200', to: '10.10.0.100', protocol: TCP }, web)),
    'drop loop',
  ],
  ['IPv4 that calls itself version 5', client4(TCP, web, { version: 5 }), 'stack'],
  ['IPv4 header length below 5', client4(TCP, web, { headerWords: 4 }), 'stack'],
  [
    'IPv4 header longer than the datagram',
    client4(TCP, Buffer.alloc(0), { headerWords: 15 }),
    'drop malformed',
  ],
  ['total length beyond the frame', client4(TCP, web, { totalBytes: 200 }), 'drop malformed'],
  ['total length within the header', client4(TCP, web, { totalBytes: 19 }), 'drop malformed'],
  ['ports only behind the total length', client4(TCP, web, { totalBytes: 30 }), 'drop malformed'],
  ['TCP cut off', client4(TCP, web.subarray(0, 12)), 'drop malformed'],
  ['UDP cut off', client4(UDP, udp(40001, 2049).subarray(0, 7)), 'drop malformed'],
  ['fragmentation needed, quoting TCP', error4(3, quoted4(TCP, reply)), v4Flow],
  [
    'unreachable, quoting the least (8 bytes)',
    error4(3, quoted4(TCP, reply.subarray(0, 8), { totalBytes: 1500 })),
    v4Flow,
  ],
  ['time exceeded, quoting UDP', error4(11, quoted4(UDP, udp(2049, 40001))), v4Flow],
  [
    'parameter problem, options in the quote',
    error4(12, quoted4(TCP, reply, { options: 12 })),
    v4Flow,
  ],
  [
    'error quoting a later fragment',
    error4(3, quoted4(UDP, Buffer.alloc(8), { fragment: 9 })),
    { ...v4Flow, fragment: true },
  ],
  [
    'error quoting a first fragment has ports',
    error4(11, quoted4(UDP, udp(2049, 40001), { fragment: 0x2000 })),
    v4Flow,
  ],
  [
    'error quoting less than 8 bytes',
    error4(3, quoted4(TCP, reply.subarray(0, 7), { totalBytes: 1500 })),
    'drop malformed',
  ],
  [
    'error quoting half an IP header',
    error4(3, quoted4(TCP, reply).subarray(0, 12)),
    'drop malformed',
  ],
  [
    'error quoting nothing of ours',
    error4(3, ipv4({ from: '10.10.0.7', to: '10.10.0.200', protocol: TCP }, reply)),
    'stack',
  ],
  ['error quoting another port of ours', error4(3, quoted4(TCP, tcp(81, 40001))), 'stack'],
  ['error quoting an echo reply', error4(3, quoted4(ICMP, icmp(0, Buffer.alloc(8)))), 'stack'],
  ['redirect', error4(5, quoted4(TCP, reply)), 'stack'],
  ['ICMP cut off', client4(ICMP, Buffer.alloc(6)), 'drop malformed'],

  ['IPv6: TCP', client6(TCP, web), v6Flow],
  ['IPv6: UDP', client6(UDP, udp(40001, 2049)), v6Flow],
  ['IPv6: hop-by-hop options', client6(HOP, extension(TCP, web)), v6Flow],
  ['IPv6: long destination options', client6(DESTINATION, extension(TCP, web, 5)), v6Flow],
  ['IPv6: authentication header', client6(AH, authentication(TCP, web)), v6Flow],
  [
    'IPv6: hop-by-hop, routing at its end, destination',
    client6(HOP, extension(ROUTING, extension(DESTINATION, extension(TCP, web), 0, 4, 0))),
    v6Flow,
  ],
  ['IPv6: routing header that goes on', client6(ROUTING, extension(TCP, web, 2, 4, 1)), 'stack'],
  [
    'IPv6: six extension headers',
    client6(
      DESTINATION,
      Array.from({ length: 5 }).reduce<Buffer>(
        (inner) => extension(DESTINATION, inner),
        extension(TCP, web),
      ),
    ),
    v6Flow,
  ],
  [
    'IPv6: seven extension headers',
    client6(
      DESTINATION,
      Array.from({ length: 6 }).reduce<Buffer>(
        (inner) => extension(DESTINATION, inner),
        extension(TCP, web),
      ),
    ),
    'drop too-deep',
  ],
  [
    'IPv6: first fragment',
    client6(FRAGMENT, fragmentHeader(UDP, 1, udp(40001, 2049))),
    { ...v6Flow, fragment: true },
  ],
  [
    'IPv6: later fragment',
    client6(FRAGMENT, fragmentHeader(UDP, 64, Buffer.alloc(9))),
    { ...v6Flow, fragment: true },
  ],
  ['IPv6: atomic fragment is whole', client6(FRAGMENT, fragmentHeader(TCP, 0, web)), v6Flow],
  [
    'IPv6: fragment of options first',
    client6(FRAGMENT, fragmentHeader(DESTINATION, 1, extension(TCP, web))),
    'stack',
  ],
  ['IPv6: payload length 0, as of a batch', client6(TCP, web, { payloadBytes: 0 }), v6Flow],
  [
    'IPv6: payload length beyond the frame',
    client6(TCP, web, { payloadBytes: 99 }),
    'drop malformed',
  ],
  [
    'IPv6: option header beyond the datagram',
    client6(HOP, extension(TCP, web, 0).fill(40, 1, 2)),
    'drop malformed',
  ],
  [
    'IPv6: ends inside an option header',
    client6(HOP, extension(TCP, Buffer.alloc(0)).subarray(0, 5)),
    'drop malformed',
  ],
  ['IPv6: no next header', client6(NONE, Buffer.alloc(4)), 'stack'],
  ['IPv6: version 4', client6(TCP, web, { version: 4 }), 'stack'],
  ['IPv6: another port', client6(TCP, tcp(40001, 81)), 'stack'],
  ['IPv6: echo request', client6(ICMPV6, icmp(128, Buffer.alloc(8))), 'stack'],
  [
    'IPv6: neighbour solicitation to the address',
    client6(ICMPV6, icmp(135, Buffer.alloc(16))),
    'stack',
  ],
  [
    'IPv6: neighbour solicitation to its multicast',
    ethernet(
      '33:33:ff:00:01:00',
      gateway,
      v6,
      ipv6(
        { from: 'fd00::200', to: 'ff02::1:ff00:100', next: ICMPV6 },
        icmp(135, Buffer.alloc(16)),
      ),
    ),
    'foreign',
  ],
  [
    'IPv6: our own frame come back',
    ethernet(vmac, vmac, v6, ipv6({ from: 'fd00::200', to: 'fd00::100', next: TCP }, web)),
    'drop loop',
  ],
  ['IPv6: packet too big', error6(2, quoted6(TCP, reply, { payloadBytes: 1460 })), v6Flow],
  [
    'IPv6: unreachable, options in the quote',
    error6(1, quoted6(DESTINATION, extension(UDP, udp(2049, 40001)))),
    v6Flow,
  ],
  [
    'IPv6: time exceeded quoting a later fragment',
    error6(3, quoted6(FRAGMENT, fragmentHeader(UDP, 64, Buffer.alloc(16)))),
    { ...v6Flow, fragment: true },
  ],
  [
    'IPv6: error quoting somebody else',
    error6(1, ipv6({ from: 'fd00::7', to: 'fd00::200', next: TCP }, reply)),
    'stack',
  ],
  ['IPv6: error quoting 4 bytes', error6(1, quoted6(TCP, reply.subarray(0, 4))), 'drop malformed'],
];
