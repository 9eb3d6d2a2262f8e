import { type Test, test } from 'tap';
import type { HashMode } from '../../src/config/types.js';
import { type ClientFlow, chooser } from '../../src/dispatch/choose.js';
import { ServiceProgram } from '../../src/dispatch/service-program.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { tcVerdict, testRun } from '../../src/ffi/bpf-test-run.js';
import { bootNs } from '../../src/ffi/clock.js';
import { ownBpffs, quiet } from '../bpf-place.js';
import {
  authentication,
  be16,
  ethernet,
  extension,
  fragmentHeader,
  icmp,
  ipv4,
  ipv6,
  mac,
  tcp,
  udp,
} from './packets.js';

const vmac = '02:00:00:00:ff:01';
const gateway = '02:00:00:00:aa:01';
const noLimit = 0xffff_ffff_ffff_ffffn;
const [TCP, UDP, ICMP, ICMPV6] = [6, 17, 1, 58];
const [HOP, ROUTING, FRAGMENT, AH, NONE, DESTINATION] = [0, 43, 44, 51, 59, 60];
const [v4, v6] = [0x0800, 0x86dd];

function service(hash: HashMode = 'source-ip-port', healthy = true): DispatchSpec {
  return {
    service: 'web',
    namespace: 'svc-web',
    incarnation: 1,
    mac: vmac,
    addresses: ['10.10.0.100', 'fd00::100'],
    ports: [
      { protocol: 'tcp', first: 80, last: 80 },
      { protocol: 'tcp', first: 443, last: 445 },
      { protocol: 'udp', first: 2049, last: 2049 },
    ],
    hash,
    members: [1, 2, 3].map((number) => ({
      personality: `web${number}`,
      mac: `02:00:00:00:00:0${number}`,
      weight: number,
      healthy,
    })),
    seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  };
}

interface Bench {
  readonly program: ServiceProgram;
  setLease(deadlineNs: bigint): void;
}

/** The program as the dispatcher loads it, on maps of this test's own. */
function bench(t: Test, deadlineNs = noLimit): Bench {
  const place = ownBpffs(t);
  const guard = new BpfGuard({ ...place, log: quiet });
  const lease = openLeaseMap(guard.prepare(1));
  lease.raise(deadlineNs);
  const program = new ServiceProgram(place, 'web', 1);
  t.teardown(() => {
    program.close();
    guard.close();
    lease.close();
  });
  return { program, setLease: (deadline) => lease.raise(deadline) };
}

type Expected = 'stack' | `drop ${string}` | Partial<ClientFlow>;

/** What a client at 10.10.0.200 or fd00::200, port 40001, sends. */
const client4 = (protocol: number, payload: Uint8Array, more = {}) =>
  ethernet(
    vmac,
    gateway,
    v4,
    ipv4({ from: '10.10.0.200', to: '10.10.0.100', protocol, ...more }, payload),
  );
const client6 = (next: number, payload: Uint8Array, more = {}) =>
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
const web = tcp(40001, 80);
const reply = tcp(80, 40001);

const v4Flow: Partial<ClientFlow> = { address: '10.10.0.200' };
const v6Flow: Partial<ClientFlow> = { address: 'fd00::200' };
const cases: readonly (readonly [string, Buffer, Expected])[] = [
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
    'stack',
  ],
  [
    'broadcast frame with a unicast packet',
    ethernet(
      'ff:ff:ff:ff:ff:ff',
      gateway,
      v4,
      ipv4({ from: '10.10.0.200', to: '10.10.0.100', protocol: UDP }, udp(1, 2049)),
    ),
    'stack',
  ],
  ['ARP', ethernet(vmac, gateway, 0x0806, Buffer.alloc(28)), 'stack'],
  [
    'a VLAN tag inside',
    ethernet(vmac, gateway, 0x8100, Buffer.concat([be16(7, v4), client4(TCP, web).subarray(14)])),
    'stack',
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
    'stack',
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

test('each frame goes where it should, changed in its MACs only', async (t) => {
  const { program } = bench(t);
  const spec = service();
  const choose = chooser(spec);
  await program.update(spec);
  for (const [name, frame, expected] of cases) {
    const before = program.counters();
    const { verdict, frame: out } = testRun(program.programFd, frame);
    const after = program.counters();
    if (expected === 'stack') {
      t.equal(verdict, tcVerdict.continue, `${name}: the stack's`);
      t.equal(after.passed, before.passed + 1, `${name}: counted`);
    } else if (typeof expected === 'string') {
      const reason = expected.slice('drop '.length);
      t.equal(verdict, tcVerdict.drop, `${name}: dropped`);
      t.equal(after.dropped[reason], (before.dropped[reason] ?? 0) + 1, `${name}: ${reason}`);
    } else {
      const defaults = { address: '', port: 40001, protocol: 'tcp', servicePort: 80 } as const;
      const choice = choose({ ...defaults, ...expected });
      const wanted = Buffer.concat([mac(choice?.mac ?? ''), mac(vmac), frame.subarray(12)]);
      t.equal(verdict, tcVerdict.redirect, `${name}: sent on`);
      t.same(out, wanted, `${name}: to ${choice?.member}`);
      const of = (counters: typeof after) =>
        counters.forwarded.find(({ personality }) => personality === choice?.member);
      t.equal(of(after)?.packets, (of(before)?.packets ?? 0) + 1);
      t.equal(of(after)?.bytes, (of(before)?.bytes ?? 0) + frame.length);
    }
    if (typeof expected === 'string') t.same(out, frame, `${name}: untouched`);
  }
});

test('the packet program and `choose` agree, in every mode', async (t) => {
  const { program } = bench(t);
  let random = 7;
  const next = (limit: number) => {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    return (random >>> 8) % limit;
  };
  for (const hash of ['source-ip', 'source-ip-port', '5-tuple'] as const) {
    const spec = service(hash);
    const choose = chooser(spec);
    await program.update(spec);
    let wrong = 0;
    const seen = new Set<string>();
    for (let round = 0; round < 1_500; round += 1) {
      const six = round % 2 === 1;
      const address = six
        ? `fd00::${next(65536).toString(16)}:${next(65536).toString(16)}`
        : `10.${next(256)}.${next(256)}.${next(256)}`;
      const protocol = next(2) === 0 ? 'tcp' : 'udp';
      const servicePort = protocol === 'udp' ? 2049 : ([80, 443, 444, 445][next(4)] ?? 80);
      const port = next(65536);
      const payload = (protocol === 'tcp' ? tcp : udp)(port, servicePort);
      const number = protocol === 'tcp' ? TCP : UDP;
      const frame = six
        ? ethernet(
            vmac,
            gateway,
            v6,
            ipv6({ from: address, to: 'fd00::100', next: number }, payload),
          )
        : ethernet(
            vmac,
            gateway,
            v4,
            ipv4({ from: address, to: '10.10.0.100', protocol: number }, payload),
          );
      const choice = choose({ address, port, protocol, servicePort });
      const out = testRun(program.programFd, frame);
      const to = out.frame.toString('hex', 0, 6);
      seen.add(to);
      if (out.verdict !== tcVerdict.redirect || to !== choice?.mac.replaceAll(':', '')) wrong += 1;
    }
    t.equal(wrong, 0, hash);
    t.equal(seen.size, 3, 'all members are used');
  }
});

test('without a lease nothing is sent on; from the deadline on it is over', async (t) => {
  const { program, setLease } = bench(t, 0n);
  await program.update(service());
  const frame = client4(TCP, web);
  t.equal(testRun(program.programFd, frame).verdict, tcVerdict.drop, 'never held');
  setLease(bootNs() - 1n);
  t.equal(testRun(program.programFd, frame).verdict, tcVerdict.drop, 'over');
  t.equal(program.counters().dropped.lease, 2);
  setLease(bootNs() + 60_000_000_000n);
  t.equal(testRun(program.programFd, frame).verdict, tcVerdict.redirect, 'held');
});

test('with no member that is up, packets are dropped and counted', async (t) => {
  const { program } = bench(t);
  await program.update(service('source-ip', false));
  const { verdict, frame } = testRun(program.programFd, client4(TCP, web));
  t.equal(verdict, tcVerdict.drop);
  t.same(frame, client4(TCP, web));
  t.equal(program.counters().dropped['no-member'], 1);
  await program.update(service('source-ip'));
  t.equal(testRun(program.programFd, client4(TCP, web)).verdict, tcVerdict.redirect);
});

test('a service of one family or protocol leaves the rest to the stack', async (t) => {
  const { program } = bench(t);
  const only4 = { ...service(), addresses: ['10.10.0.100'], ports: service().ports.slice(0, 1) };
  await program.update(only4);
  t.equal(testRun(program.programFd, client4(TCP, web)).verdict, tcVerdict.redirect);
  t.equal(testRun(program.programFd, client6(TCP, web)).verdict, tcVerdict.continue);
  const fragment = client4(UDP, Buffer.alloc(16), { fragment: 5 });
  t.equal(testRun(program.programFd, fragment).verdict, tcVerdict.continue);
});

test('a member keeps its counters while others come and go', async (t) => {
  const { program } = bench(t);
  const spec = service('source-ip');
  const only = (...names: readonly string[]) => ({
    ...spec,
    members: spec.members.filter(({ personality }) => names.includes(personality)),
  });
  const packets = () =>
    Object.fromEntries(
      program.counters().forwarded.map((each) => [each.personality, each.packets]),
    );
  await program.update(only('web2'));
  testRun(program.programFd, client4(TCP, web));
  t.same(packets(), { web2: 1 });
  t.equal(await program.update(only('web2')), false, 'nothing to do');
  t.equal(await program.update(only('web1')), true);
  testRun(program.programFd, client4(TCP, web));
  await program.update(only('web2', 'web3'));
  t.same(packets(), { web1: 1, web2: 1, web3: 0 });
});

test('what cannot be dispatched is refused and changes nothing', async (t) => {
  const { program } = bench(t);
  await program.update(service());
  const wrong: readonly Partial<DispatchSpec>[] = [
    { seed: '' },
    { mac: '' },
    { addresses: ['10.10.0.100', '10.10.0.101'] },
    { addresses: ['web'] },
  ];
  for (const part of wrong) {
    await t.rejects(program.update({ ...service(), ...part }), { code: 'US_DISPATCH_SPEC' });
  }
  t.equal(testRun(program.programFd, client4(TCP, web)).verdict, tcVerdict.redirect);
});
