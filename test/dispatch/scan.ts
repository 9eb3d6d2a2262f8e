import type { Test } from 'tap';
import type { TrafficReport } from '../../src/control/records.js';
import { closeFd } from '../../src/ffi/bpf-map.js';
import type { TestNamespace } from '../bpf-net.js';
import { Dice, garbage } from './any-frames.js';
import { openFrames, send } from './frames.js';
import { be16, ethernet, ipv4, tcp, udp } from './packets.js';
import { TCP, UDP, v4, vmac } from './program-cases.js';
import { noLimit, service, stage, vip4 } from './stage.js';

const scanner = '02:00:00:00:ee:01';
const atOnce = 32;
/** A kernel that handed on what is longer would have cut it. */
const longestFrame = 1_500;

type Fate = 'forwarded' | 'passed' | 'any';
interface Probe {
  readonly frame: Buffer;
  readonly fate: Fate;
}

/** TCP flags of nmap's scans: SYN, connect's ACK, NULL, FIN, Xmas, Maimon, and all of them. */
const scans = [0x02, 0x10, 0x00, 0x01, 0x29, 0x11, 0xff];

/** What nmap sends (-sS -sA -sN -sF -sX -sM -sU -sO -f, with decoys), and noise of every kind. */
function nextProbe(dice: Dice): Probe {
  const from = `10.10.${1 + dice.below(254)}.${1 + dice.below(254)}`;
  const packet = (protocol: number, payload: Buffer, fragment = 0) =>
    ethernet(
      vmac,
      scanner,
      v4,
      withChecksum(ipv4({ from, to: vip4, protocol, fragment }, payload)),
    );
  const port = 1_024 + dice.below(60_000);
  const served = dice.below(2) === 0;
  switch (dice.below(5)) {
    case 0: {
      const frame = packet(TCP, tcp(port, served ? 80 : 81 + dice.below(900), '', dice.of(scans)));
      return { frame, fate: served ? 'forwarded' : 'passed' };
    }
    case 1: {
      const frame = packet(UDP, udp(port, served ? 2_049 : 2_050 + dice.below(900)));
      return { frame, fate: served ? 'forwarded' : 'passed' };
    }
    case 2:
      // Neither TCP, UDP nor ICMP.
      return { frame: packet(100 + dice.below(150), dice.bytes(dice.below(40))), fate: 'passed' };
    case 3:
      return { frame: packet(TCP, be16(port, 80, 0, 0), 0x2000), fate: 'forwarded' };
    default:
      return { frame: garbage(service(), dice), fate: 'any' };
  }
}

/** A bridge may drop what has a wrong one (br_validate_ipv4). */
function withChecksum(packet: Buffer): Buffer {
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += packet.readUInt16BE(at);
  sum = (sum & 0xffff) + (sum >> 16);
  packet.writeUInt16BE(~(sum + (sum >> 16)) & 0xffff, 10);
  return packet;
}

class Wire {
  readonly #fd: number;

  constructor(at: TestNamespace, device: string) {
    this.#fd = openFrames(at, device);
  }

  /** @returns whether the kernel took it */
  put(frame: Buffer): boolean {
    return Number(send(this.#fd, frame, frame.length, 0)) === frame.length;
  }

  close(): void {
    closeFd(this.#fd);
  }
}

const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
const forwardedOf = ({ forwarded }: TrafficReport) => sum(forwarded.map(({ packets }) => packets));

/** Unicast frames that the NIC has got: all are to the service's MAC. */
function unicast(at: TestNamespace): number {
  const [link] = JSON.parse(at.ip('-s -j link show dev eth0')) as {
    stats64: { rx: { packets: number; multicast: number } };
  }[];
  const { packets = 0, multicast = 0 } = link?.stats64.rx ?? {};
  return packets - multicast;
}

/** Scans a service on the wire, and asks it in between as a client does. */
export async function scanFor(t: Test, forMs: number): Promise<void> {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.comment(`seed ${seed}`);
  const dice = new Dice(seed);
  const { near, farHost, dispatching, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const dispatcher = await newDispatcher();
  await dispatcher.ensure(service());
  answer();
  const wire = new Wire(farHost, 'eth1');
  t.teardown(() => wire.close());
  const sent: Record<Fate, number> = { forwarded: 0, passed: 0, any: 0 };
  const wrong: string[] = [];
  const endMs = performance.now() + forMs;
  for (let round = 0; performance.now() < endMs; round += 1) {
    const asked = near.ask({ port: 20_000 + (round % 40_000) });
    for (let count = 0; count < atOnce; count += 1) {
      const { frame, fate } = nextProbe(dice);
      if (frame.length <= longestFrame && wire.put(frame)) sent[fate] += 1;
    }
    const said = await asked;
    if (!/^web\d 0$/.test(said)) wrong.push(said);
  }
  t.same(wrong, [], 'a client is answered all the while');
  t.comment(`sent ${JSON.stringify(sent)}`);
  // Some of it is answered, and that is answered too: read when nothing came in between.
  for (let look = 0; look < 100; look += 1) {
    const before = unicast(dispatching);
    const counters = await dispatcher.counters('web');
    if (unicast(dispatching) !== before) continue;
    t.comment(JSON.stringify(counters));
    const counted = forwardedOf(counters) + counters.passed + sum(Object.values(counters.dropped));
    t.equal(counted, before, 'sent on, passed and dropped are what the NIC has got');
    t.ok(forwardedOf(counters) >= sent.forwarded, 'what was for a member went to one');
    t.ok(counters.passed >= sent.passed, 'the rest of what was in order went to the stack');
    return;
  }
  t.fail('it never came to rest');
}
