import { once } from 'node:events';
import tap, { test } from 'tap';
import { chooser } from '../../src/dispatch/choose.js';
import { TestNamespace } from '../bpf-net.js';
import { noLimit, service, stage, startNode, vip4, vip6 } from './stage.js';

tap.setTimeout(120_000);
const pathBytes = 1_400;
const answerBytes = 400_000;
const port = 81;

/** In a member: a long answer to whoever connects. */
const server = `
require('net').createServer((socket) => {
  socket.on('error', () => {});
  socket.end(Buffer.alloc(${answerBytes}));
}).listen(${port}, '::', () => console.log('ready'));
`;

/** In the client: how much came, over one connection from a given port. */
const client = `
const [host, localPort] = process.argv.slice(1);
let bytes = 0;
const socket = require('net').connect({ host, port: ${port}, localPort: Number(localPort) });
socket.setTimeout(20000, () => socket.destroy());
socket.on('data', (data) => { bytes += data.length; });
socket.on('close', () => console.log(bytes));
socket.on('error', () => {});
process.stdin.resume();
`;

for (const by of ['BPF', 'nftables'] as const) {
  test(`a path that takes less than the LAN does: the member that answers is told, over IPv4 and IPv6, by ${by}`, async (t) => {
    const { farHost, members, lease, newDispatcher, newNft, answer } = await stage(t);
    lease.raise(noLimit);
    // The client is behind a router, whose own end of the cable takes less than the client's.
    const router = new TestNamespace(t, 'dr');
    const away = new TestNamespace(t, 'da');
    for (const at of [router, away]) at.set('net.ipv6.conf.default.accept_dad', 0);
    farHost.ip(
      `link add link eth1 name eth0 netns ${router.name} address 02:00:00:00:ee:01 type macvlan mode bridge`,
    );
    router.ip(`link add lan type veth peer name eth0 netns ${away.name}`);
    router.ip(`link set lan mtu ${pathBytes}`);
    const number = (at: TestNamespace, device: string, ...addresses: readonly string[]) => {
      for (const address of addresses) {
        at.ip(`addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`);
      }
      at.ip(`link set ${device} up`);
    };
    number(router, 'eth0', '10.10.0.250/24', 'fd10::250/64');
    number(router, 'lan', '10.20.0.1/24', 'fd20::1/64');
    number(away, 'eth0', '10.20.0.2/24', 'fd20::2/64');
    router.set('net.ipv4.ip_forward', 1);
    router.set('net.ipv6.conf.all.forwarding', 1);
    away.ip('route add default via 10.20.0.1');
    away.ip('-6 route add default via fd20::1');
    for (const member of members) {
      member.ip('route add 10.20.0.0/24 via 10.10.0.250');
      member.ip('-6 route add fd20::/64 via fd10::250');
    }
    const spec = service({
      ports: [{ protocol: 'tcp', first: port, last: port }],
      ...(by === 'nftables' ? { dataPlane: by } : {}),
    });
    const dispatcher = by === 'BPF' ? await newDispatcher() : newNft();
    await dispatcher.ensure(spec);
    answer();
    await Promise.all(
      members.map(async (member) => {
        const child = startNode(t, member, server);
        if (child.stdout !== null) await once(child.stdout, 'data');
      }),
    );
    for (const [vip, address] of [
      [vip4, '10.20.0.2'],
      [vip6, 'fd20::2'],
    ] as const) {
      const flow = { address, port: 40_007, protocol: 'tcp', servicePort: port } as const;
      const chosen = Number(chooser(spec)(flow)?.member.replace('web', '')) - 1;
      const asked = startNode(t, away, client, vip, String(flow.port));
      if (asked.stdout === null) throw new Error('no output');
      const [bytes] = (await once(asked.stdout, 'data')) as [Buffer];
      t.equal(Number(bytes), answerBytes, `all of the answer of ${vip}`);
      const told = members.map((member) =>
        member.ip(`route get ${address} from ${vip}`).includes(`mtu ${pathBytes}`),
      );
      t.same(
        told,
        members.map((_, at) => at === chosen),
        'who answered, and nobody else, knows what the path takes',
      );
    }
    const { dropped } = await dispatcher.counters('web');
    t.same(
      Object.values(dropped).filter((count) => count > 0),
      [],
      'nothing was dropped',
    );
  });
}
