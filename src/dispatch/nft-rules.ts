import ipaddr from 'ipaddr.js';
import type { HashMode } from '../config/types.js';
import { nftSeed } from './nft-hash.js';
import { keyOf, slotCount } from './table.js';
import type { DispatchSpec } from './types.js';

/** In the service's own network namespace. */
export const nftTable = 'netdev understudy';
/** Counters of what no member got. */
export const otherCounts = ['passed', 'no-member', 'loop'] as const;
/** Counters of a member. */
export const packetsTo = (personality: string) => `to-${personality}`;
export const flowsTo = (personality: string) => `begun-${personality}`;

type Protocol = 'tcp' | 'udp';
const protocols = { tcp: 6, udp: 17 } as const;
/** Errors that quote a packet: RFC 792; RFC 4443. */
const errors4 = '3, 4, 11, 12';
const errors6 = '1, 2, 3, 4';

/**
 * Rules of a service, one a line, for empty chains. A packet's hash is carried as its mark to `send`, where the
 * map `slots` has the member's MAC; nothing else sees the mark.
 */
export function rulesOf(spec: DispatchSpec, nic: string): readonly string[] {
  const { mac, addresses, otherDispatchers = [] } = spec;
  const dispatchers = [...new Set([mac, ...otherDispatchers])].join(', ');
  const v4 = addresses.find((address) => !address.includes(':'));
  const v6 = addresses.find((address) => address.includes(':'));
  const rule = (chain: string, text: string) => `add rule ${nftTable} ${chain} ${text}`;
  return [
    rule('in', `ether daddr != ${mac} accept`),
    // What has a tag is another network's; VLAN 0 is a priority alone (IEEE 802.1Q). At bits from the frame's start.
    rule('in', '@ll,96,16 0x88a8 accept'),
    rule('in', '@ll,96,16 0x8100 @ll,112,16 & 0x0fff != 0 accept'),
    rule('in', `ether saddr { ${dispatchers} } counter name "loop" drop`),
    ...(v4 === undefined ? [] : [rule('in', `ip daddr ${v4} jump v4`)]),
    ...(v6 === undefined ? [] : [rule('in', `ip6 daddr ${v6} jump v6`)]),
    rule('in', 'counter name "passed" accept'),
    ...(v4 === undefined ? [] : family4(spec, v4).map((text) => rule('v4', text))),
    ...(v6 === undefined ? [] : family6(spec, v6).map((text) => rule('v6', text))),
    rule('send', 'ether daddr set meta mark map @slots'),
    // Without a member in its slot the rule above changed nothing.
    rule('send', `ether daddr ${mac} counter name "no-member" drop`),
    rule('send', 'tcp flags & (syn | ack) == syn counter name ether daddr map @begun'),
    rule('send', 'counter name ether daddr map @to'),
    rule('send', `meta mark set 0 ether saddr set ${mac} fwd to "${nic}"`),
  ];
}

function family4(spec: DispatchSpec, address: string): readonly string[] {
  const quoted = `0x${Buffer.from(ipaddr.parse(address).toByteArray()).toString('hex')}`;
  return [
    `ip frag-off & 0x3fff != 0 meta l4proto ${served(spec)} ${hashed(spec, '', 'ip saddr')}`,
    'ip frag-off & 0x3fff != 0 return',
    ...portRules(spec, 'ip saddr'),
    `icmp type { ${errors4} } @th,64,8 0x45 @th,112,16 & 0x1fff != 0 @th,160,32 ${quoted} @th,136,8 ${numbers(spec)} ${hashed(spec, '', '@th,192,32')}`,
    // What an error quotes is a member's packet: its source is the service, its destination the client. Offsets are
    // in bits from the ICMP header on; quoted are an IPv4 header without options and the first 8 bytes behind it.
    ...ranges(spec).flatMap(([protocol, ports]) => [
      [
        `icmp type { ${errors4} } @th,64,8 0x45 @th,112,16 & 0x1fff == 0 @th,160,32 ${quoted}`,
        `@th,136,8 ${protocols[protocol]} @th,224,16 ${ports}`,
        hashed(spec, protocol, '@th,192,32', '@th,240,16', '@th,224,16'),
      ].join(' '),
    ]),
  ];
}

function family6(spec: DispatchSpec, address: string): readonly string[] {
  const quoted = `0x${Buffer.from(ipaddr.parse(address).toByteArray()).toString('hex')}`;
  return [
    // The address is not its last one yet (RFC 8200, section 4.4).
    'rt seg-left != 0 return',
    // A fragment that is all of its datagram is none (RFC 6946).
    ...['frag frag-off != 0', 'frag more-fragments 1'].flatMap((part) => [
      `${part} meta l4proto ${served(spec)} ${hashed(spec, '', 'ip6 saddr')}`,
      `${part} return`,
    ]),
    ...portRules(spec, 'ip6 saddr'),
    ...ranges(spec).flatMap(([protocol, ports]) => [
      [
        `icmpv6 type { ${errors6} } @th,128,128 ${quoted}`,
        `@th,112,8 ${protocols[protocol]} @th,384,16 ${ports}`,
        hashed(spec, protocol, '@th,256,128', '@th,400,16', '@th,384,16'),
      ].join(' '),
    ]),
  ];
}

function portRules(spec: DispatchSpec, client: string): readonly string[] {
  return ranges(spec).map(([protocol, ports]) => {
    const hash = hashed(spec, protocol, client, `${protocol} sport`, `${protocol} dport`);
    return `${protocol} dport ${ports} ${hash}`;
  });
}

/** The slot as the packet's mark; the client's port and the service's count where the mode says so. */
function hashed(
  { hash, ...spec }: DispatchSpec,
  protocol: Protocol | '',
  client: string,
  port = '',
  servicePort = '',
): string {
  const parts: Readonly<Record<HashMode, readonly string[]>> = {
    'source-ip': [client],
    'source-ip-port': [client, port],
    '5-tuple': [client, port, servicePort],
  };
  const key = protocol === '' ? client : parts[hash].join(' . ');
  const seed = nftSeed(keyOf({ hash, ...spec }), hash, protocol);
  return `meta mark set jhash ${key} mod ${slotCount} seed ${seed} goto send`;
}

/** Protocols of the service, with its ports as a set. */
function ranges({ ports }: DispatchSpec): readonly (readonly [Protocol, string])[] {
  return (['tcp', 'udp'] as const).flatMap((protocol) => {
    const own = ports
      .filter((range) => range.protocol === protocol)
      .map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
    return own.length === 0 ? [] : [[protocol, `{ ${own.join(', ')} }`] as const];
  });
}

function served(spec: DispatchSpec): string {
  return `{ ${ranges(spec)
    .map(([protocol]) => protocol)
    .join(', ')} }`;
}

function numbers(spec: DispatchSpec): string {
  return `{ ${ranges(spec)
    .map(([protocol]) => protocols[protocol])
    .join(', ')} }`;
}
