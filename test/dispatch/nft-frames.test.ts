import { rmSync } from 'node:fs';
import { join } from 'node:path';
import tap, { type Test, test } from 'tap';
import { chooser } from '../../src/dispatch/choose.js';
import { NftDispatcher } from '../../src/dispatch/nft-dispatcher.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { closeFd } from '../../src/ffi/bpf-map.js';
import { TestNamespace } from '../bpf-net.js';
import { ownBpffs, quiet } from '../bpf-place.js';
import { openFrames, send } from './frames.js';
import { tcp } from './packets.js';
import { cases, client4, type Expected, TCP, vmac } from './program-cases.js';
import { noLimit } from './stage.js';

tap.setTimeout(120_000);

const spec: DispatchSpec = {
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
  hash: 'source-ip-port',
  members: [1, 2, 3].map((number) => ({
    personality: `web${number}`,
    mac: `02:00:00:00:00:0${number}`,
    weight: number,
    healthy: true,
  })),
  seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  dataPlane: 'nftables',
};

/** Where nftables does otherwise than BPF, as docs/dispatcher.md says. */
const [client4Flow, client6Flow] = [{ address: '10.10.0.200' }, { address: 'fd00::200' }];
const otherwise: Readonly<Record<string, Expected>> = {
  // What contradicts itself is nobody's to nftables, or whole enough to have ports.
  'total length 0, as of a batch above 64 KiB': 'stack',
  'IPv4 header longer than the datagram': 'stack',
  'total length beyond the frame': 'stack',
  'total length within the header': 'stack',
  'ports only behind the total length': client4Flow,
  'TCP cut off': client4Flow,
  'UDP cut off': client4Flow,
  'error quoting less than 8 bytes': client4Flow,
  'error quoting half an IP header': 'stack',
  'ICMP cut off': 'stack',
  'IPv6: payload length beyond the frame': 'stack',
  'IPv6: option header beyond the datagram': 'stack',
  'IPv6: ends inside an option header': 'stack',
  'IPv6: error quoting 4 bytes': client6Flow,
  // Headers of one length are read in an error, no others.
  'parameter problem, options in the quote': 'stack',
  'IPv6: unreachable, options in the quote': 'stack',
  'IPv6: time exceeded quoting a later fragment': 'stack',
  // As the kernel reads extension headers (ipv6_find_hdr): it stops at AH, and counts none.
  'IPv6: authentication header': 'stack',
  'IPv6: seven extension headers': client6Flow,
  'IPv6: fragment of options first': { ...client6Flow, fragment: true },
};

const mostLooks = 20;
const sum = (counts: Readonly<Record<string, number>>) =>
  Object.values(counts).reduce((total, count) => total + count, 0);

/** The rules on a NIC of their own, at the other end of a cable from who sends. */
async function table(t: Test) {
  const prefix = `ustest-${process.pid}-f`;
  const place = ownBpffs(t);
  const dispatching = new TestNamespace(t, '', `${prefix}svc-web`);
  const sender = new TestNamespace(t, 'ds');
  dispatching.ip(`link add eth0 address ${vmac} type veth peer name eth1 netns ${sender.name}`);
  for (const [at, device] of [
    [dispatching, 'eth0'],
    [sender, 'eth1'],
  ] as const) {
    at.set(`net.ipv6.conf.${device}.disable_ipv6`, 1);
    at.ip(`link set ${device} up`);
  }
  const guard = new BpfGuard({ ...place, log: quiet });
  const lease = openLeaseMap(guard.prepare(1));
  lease.raise(noLimit);
  guard.attach(dispatching.path, 'eth0', 1);
  const stateDirectory = join(place.bpffs, '..', `${prefix}-nftables`);
  t.teardown(() => {
    lease.close();
    guard.close();
    rmSync(stateDirectory, { recursive: true, force: true });
  });
  const nft = new NftDispatcher({
    ...{ namespaceDirectory: '/run/netns', namespacePrefix: prefix, stateDirectory, log: quiet },
  });
  await nft.ensure(spec);
  const fd = openFrames(sender, 'eth1');
  t.teardown(() => closeFd(fd));
  return { nft, put: (frame: Buffer) => send(fd, frame, frame.length, 0) };
}

test('each frame that the BPF program is tried with goes the same way, or as it is said', async (t) => {
  const { nft, put } = await table(t);
  const choose = chooser(spec);
  const counts = async (): Promise<Readonly<Record<string, number>>> => {
    const { forwarded, passed, dropped } = await nft.counters('web');
    const to = forwarded.map(({ personality, packets }) => [personality, packets] as const);
    return Object.fromEntries([...to, ['stack', passed], ...Object.entries(dropped)]);
  };
  const wantedOf = (expected: Expected): string => {
    if (typeof expected === 'string') return expected.replace('drop ', '');
    const defaults = { address: '', port: 40_001, protocol: 'tcp', servicePort: 80 } as const;
    return choose({ ...defaults, ...expected })?.member ?? '';
  };
  // Follows each frame, and is seen when that one has been.
  const mark = client4(TCP, tcp(1, 81));
  let before = await counts();
  for (const [name, frame, expected] of cases) {
    put(frame);
    put(mark);
    const wanted = wantedOf(otherwise[name] ?? expected);
    const total = sum(before) + (wanted === 'foreign' ? 1 : 2);
    let after = await counts();
    for (let look = 0; look < mostLooks && sum(after) < total; look += 1) after = await counts();
    const went = Object.keys(after).flatMap((where) => {
      const more = (after[where] ?? 0) - (before[where] ?? 0) - (where === 'stack' ? 1 : 0);
      return more === 1 ? [where] : more === 0 ? [] : [`${more} to ${where}`];
    });
    before = after;
    t.same(went, wanted === 'foreign' ? [] : [wanted], name);
  }
});
