import type { HashMode } from '../../src/config/types.js';
import type { ClientFlow } from '../../src/dispatch/choose.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import {
  authentication,
  ethernet,
  extension,
  fragmentHeader,
  icmp,
  ipv4,
  ipv6,
  tcp,
  udp,
} from './packets.js';
import type { Entry } from './plane.js';
import { gateway, TCP, UDP, v4, v6 } from './program-cases.js';

/** Bytes that the kernel tests a program of tc or XDP with at least: tc's stack expects an IP header. */
export function leastBytes(entry: Entry, frame: Buffer): number {
  const type = frame.readUInt16BE(12);
  if (entry === 'xdp') return 15;
  return type === v4 ? 34 : type === v6 ? 54 : 15;
}

/** A service a hash mode, with TCP 80 to 90 and UDP 53. */
export const modes: readonly HashMode[] = ['source-ip', 'source-ip-port', '5-tuple'];
export const servicePorts = { tcp: [80, 85, 90], udp: [53] } as const;

export function serviceOf(mode: HashMode): DispatchSpec {
  const number = modes.indexOf(mode);
  return {
    service: mode,
    namespace: `svc-${mode}`,
    incarnation: 1,
    mac: `02:00:00:00:ff:1${number}`,
    addresses: [`10.10.0.10${number}`, `fd00::10${number}`],
    ports: [
      { protocol: 'udp', first: 53, last: 53 },
      { protocol: 'tcp', first: 80, last: 90 },
    ],
    hash: mode,
    members: Array.from({ length: 5 }, (_, at) => ({
      personality: `web${at}`,
      mac: `02:00:00:00:00:0${at}`,
      weight: at,
      healthy: true,
    })),
    seed: `${number}f1e2d3c4b5a69788796a5b4c3d2e1f0`,
  };
}

/** How a flow's packet is dressed; the flow it belongs to is the same. */
export interface Dress {
  readonly kind: 'plain' | 'error' | 'fragment';
  /** Of IPv4 options, in words of 4 bytes; of IPv6 extension headers. */
  readonly extras: readonly number[];
  readonly flags: number;
  readonly payload: Uint8Array;
}

const isIpv6 = (address: string) => address.includes(':');

/** A frame of this flow to the service; `fragment` of the flow says whether ports can be known. */
export function frameOf(spec: DispatchSpec, flow: ClientFlow, dress: Dress): Buffer {
  const six = isIpv6(flow.address);
  const own = spec.addresses[six ? 1 : 0] ?? '';
  const protocol = flow.protocol === 'tcp' ? TCP : UDP;
  const transport = (from: number, to: number) =>
    flow.protocol === 'tcp'
      ? tcp(from, to, Buffer.from(dress.payload).toString('latin1'), dress.flags)
      : udp(from, to, dress.payload);
  if (dress.kind === 'error') {
    const inner = transport(flow.servicePort, flow.port);
    if (six) {
      const quote = ipv6({ from: own, to: flow.address, next: protocol }, inner);
      return wrap6(spec, '2001:db8::1', own, 58, icmp(2, quote), []);
    }
    const quote = ipv4({ from: own, to: flow.address, protocol }, inner);
    const header = { from: '192.0.2.1', to: own, protocol: 1 };
    return ethernet(spec.mac, gateway, v4, ipv4(header, icmp(3, quote)));
  }
  const whole = transport(flow.port, flow.servicePort);
  if (six) {
    if (dress.kind === 'plain') {
      return wrap6(spec, flow.address, own, protocol, whole, dress.extras);
    }
    return wrap6(spec, flow.address, own, 44, fragmentHeader(protocol, 64, whole), []);
  }
  const options = Math.min(dress.extras.length, 10) * 4;
  const fragment = dress.kind === 'fragment' ? 0x2000 : 0;
  const header = { from: flow.address, to: own, protocol, options, fragment };
  return ethernet(spec.mac, gateway, v4, ipv4(header, whole));
}

const headers = [0, 60, 51] as const;

function wrap6(
  spec: DispatchSpec,
  from: string,
  to: string,
  next: number,
  payload: Buffer,
  extras: readonly number[],
): Buffer {
  let [inner, type] = [payload, next];
  for (const extra of extras.slice(0, 6)) {
    const header = headers[extra % headers.length] ?? 0;
    inner = header === 51 ? authentication(type, inner) : extension(type, inner, extra % 4);
    type = header;
  }
  return ethernet(spec.mac, gateway, v6, ipv6({ from, to, next: type }, inner));
}

/** Numbers that look random and come again for the same seed (Marsaglia's xorshift32). */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }
}

/**
 * What a scanner or a broken sender makes: noise behind a header that looks right, a good frame with
 * some bytes changed or cut off. Always to the service's MAC and in no VLAN.
 */
export function garbage(spec: DispatchSpec, dice: Dice): Buffer {
  const six = dice.below(2) === 1;
  const own = spec.addresses[six ? 1 : 0] ?? '';
  if (dice.below(4) === 0) {
    const type = dice.of([v4, v6, 0x0806, 0x88cc, 0x0000]);
    return ethernet(spec.mac, gateway, type, dice.bytes(1 + dice.below(120)));
  }
  const protocol = dice.of([TCP, UDP, 1, 58, 0, 43, 44, 51, 60, dice.below(256)]);
  const payload = dice.bytes(dice.below(100));
  const packet = six
    ? ipv6({ from: 'fd00::200', to: own, next: protocol }, payload)
    : ipv4(
        {
          from: '10.10.0.200',
          to: own,
          protocol,
          options: dice.below(11) * 4,
          fragment: dice.of([0, 0, 0x2000, 0x4000, dice.below(65_536)]),
        },
        payload,
      );
  const flow: ClientFlow = {
    address: six ? 'fd00::200' : '10.10.0.200',
    port: dice.below(65_536),
    protocol: dice.of(['tcp', 'udp']),
    servicePort: dice.of([80, 90, 53, dice.below(65_536)]),
  };
  const dress: Dress = {
    kind: dice.of(['plain', 'error', 'fragment']),
    extras: Array.from({ length: dice.below(8) }, () => dice.below(12)),
    flags: dice.below(256),
    payload: dice.bytes(dice.below(40)),
  };
  const frame =
    dice.below(2) === 0
      ? ethernet(spec.mac, gateway, six ? v6 : v4, packet)
      : frameOf(spec, flow, dress);
  for (let change = dice.below(4); change > 0; change -= 1) {
    // Behind the Ethernet header: the frame stays the service's.
    if (frame.length > 14) frame[14 + dice.below(frame.length - 14)] = dice.below(256);
  }
  return dice.below(3) === 0 ? frame.subarray(0, 15 + dice.below(frame.length - 14)) : frame;
}
