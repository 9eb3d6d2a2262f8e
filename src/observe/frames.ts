/** What an observer wants to know of a frame. Undefined where the frame has no such part. */
export interface Seen {
  readonly destination: string;
  readonly source: string;
  /** VLAN ID of an 802.1Q tag. */
  readonly vlan: number | undefined;
  readonly etherType: number;
  readonly arp: Arp | undefined;
  readonly ip: Ip | undefined;
  readonly vxlan: Vxlan | undefined;
}

export interface Arp {
  readonly operation: 'request' | 'reply';
  readonly senderMac: string;
  readonly senderIp: string;
  readonly targetMac: string;
  readonly targetIp: string;
}

export interface Ip {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly payload: Buffer;
}

export interface Vxlan {
  readonly vni: number;
  readonly inner: Seen;
}

const vxlanPort = 4789;

/** Takes an Ethernet frame apart; undefined for one that is too short to be any. */
export function decode(frame: Buffer): Seen | undefined {
  if (frame.length < 14) return undefined;
  let etherType = frame.readUInt16BE(12);
  let at = 14;
  let vlan: number | undefined;
  if (etherType === 0x8100 && frame.length >= 18) {
    vlan = frame.readUInt16BE(14) & 0x0fff;
    etherType = frame.readUInt16BE(16);
    at = 18;
  }
  const ip = etherType === 0x0800 ? decodeIp(frame.subarray(at)) : undefined;
  return {
    destination: mac(frame, 0),
    source: mac(frame, 6),
    vlan,
    etherType,
    arp: etherType === 0x0806 ? decodeArp(frame.subarray(at)) : undefined,
    ip,
    vxlan: ip?.protocol === 17 ? decodeVxlan(ip.payload) : undefined,
  };
}

/** RFC 826, Ethernet and IPv4. */
function decodeArp(packet: Buffer): Arp | undefined {
  if (packet.length < 28 || packet.readUInt16BE(2) !== 0x0800) return undefined;
  return {
    operation: packet.readUInt16BE(6) === 1 ? 'request' : 'reply',
    senderMac: mac(packet, 8),
    senderIp: [...packet.subarray(14, 18)].join('.'),
    targetMac: mac(packet, 18),
    targetIp: [...packet.subarray(24, 28)].join('.'),
  };
}

function decodeIp(packet: Buffer): Ip | undefined {
  if (packet.length < 20) return undefined;
  const headerBytes = (packet.readUInt8(0) & 0x0f) * 4;
  return {
    source: [...packet.subarray(12, 16)].join('.'),
    destination: [...packet.subarray(16, 20)].join('.'),
    protocol: packet.readUInt8(9),
    payload: packet.subarray(headerBytes),
  };
}

/** RFC 7348: UDP, then flags, VNI and the inner frame. */
function decodeVxlan(udp: Buffer): Vxlan | undefined {
  if (udp.length < 16 || udp.readUInt16BE(2) !== vxlanPort) return undefined;
  const inner = decode(udp.subarray(16));
  return inner === undefined ? undefined : { vni: udp.readUIntBE(12, 3), inner };
}

function mac(bytes: Buffer, at: number): string {
  return [...bytes.subarray(at, at + 6)]
    .map((octet) => octet.toString(16).padStart(2, '0'))
    .join(':');
}
