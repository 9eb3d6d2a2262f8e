import tap, { type Test, test } from 'tap';
import type { BpfLog } from '../../src/bpf/place.js';
import { objectPath } from '../../src/bpf/place.js';
import { chooser } from '../../src/dispatch/choose.js';
import { loadObject } from '../../src/ffi/bpf.js';
import { interfaceIndex } from '../../src/ffi/bpf-filter.js';
import { closeFd } from '../../src/ffi/bpf-map.js';
import { inNetworkNamespace } from '../../src/ffi/namespace.js';
import { attachXdp, queryXdp } from '../../src/ffi/xdp.js';
import type { TestNamespace } from '../bpf-net.js';
import { until } from '../lab/nodes.js';
import { checksumErrors, noLimit, service, stage, vip4, vip6 } from './stage.js';

tap.setTimeout(120_000);

/** A program of somebody else's: it passes everything, since it knows no service. */
function foreign(t: Test, objectDirectory: string | undefined): number {
  const place = { bpffs: '', ...(objectDirectory === undefined ? {} : { objectDirectory }) };
  const object = loadObject(objectPath(place, 'dispatch'), new Map());
  t.teardown(() => object.close());
  return object.program('us_dispatch_xdp');
}

function attach(t: Test, at: TestNamespace, device: string, program: number): () => void {
  const link = inNetworkNamespace(at.path, () =>
    attachXdp(interfaceIndex(device), program, 'native'),
  );
  let held = true;
  const end = () => {
    if (held) closeFd(link);
    held = false;
  };
  t.teardown(end);
  return end;
}

const programOn = (at: TestNamespace, device: string) =>
  inNetworkNamespace(at.path, () => queryXdp(interfaceIndex(device)));

/** The first member is on the dispatcher's own host. */
const spec = () => {
  const plain = service();
  return {
    ...plain,
    xdpOn: 'eth1',
    members: plain.members.map((member, at) => ({ ...member, here: at === 0 })),
  };
};

test('on an untagged network XDP on the NIC takes what comes from outside', async (t) => {
  const { network, host, farHost, far, near, members, lease, newDispatcher, answer } =
    await stage(t);
  lease.raise(noLimit);
  // Between namespaces frames have no checksum yet; a wire would not carry them so.
  await farHost.exec('ethtool', '-K', 'eth1', 'tx', 'off');
  // A veth sends what XDP returns only when its peer has a program too.
  attach(t, network, 'p1', foreign(t, undefined));
  const dispatcher = await newDispatcher({ underlayNamespacePath: host.path });
  await dispatcher.ensure(spec());
  answer();
  const program = programOn(host, 'eth1');
  t.ok(program !== undefined);
  const chosen = chooser(spec());
  for (const client of [far, near]) {
    for (const address of [vip4, vip6]) {
      const asks = Array.from({ length: 12 }, (_, at) => ({ address, port: 41_000 + at }));
      const answers = await Promise.all(asks.map((ask) => client.ask(ask)));
      t.same(
        answers,
        asks.map((ask) => `${chosen(client.flow(ask))?.member} 0`),
      );
    }
  }
  t.same(await Promise.all(members.map(checksumErrors)), [0, 0, 0], 'no bad checksums');

  await dispatcher.stop();
  t.equal(programOn(host, 'eth1'), program, 'stays when the agent ends');
  t.match(await far.ask({ port: 43_000 }), /^web\d 0$/);
  const next = await newDispatcher({ underlayNamespacePath: host.path });
  await next.ensure(spec());
  t.match(await far.ask({ port: 43_001 }), /^web\d 0$/);
  await next.ensure(service());
  await until('no longer wished: it is gone', () => programOn(host, 'eth1') === undefined);
  t.match(await far.ask({ port: 43_002 }), /^web\d 0$/, 'tc goes on');
});

test('another program on the NIC stays there, and packets go by tc', async (t) => {
  const { host, far, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const program = foreign(t, undefined);
  const end = attach(t, host, 'eth1', program);
  const there = programOn(host, 'eth1');
  const warned: object[] = [];
  const log: BpfLog = { info: () => {}, warn: (fields) => warned.push(fields) };
  const dispatcher = await newDispatcher({ underlayNamespacePath: host.path, log });
  await dispatcher.ensure(spec());
  answer();
  t.equal(programOn(host, 'eth1'), there);
  t.match(warned, [{ cause: /US_BPF_TAKEN.*us_dispatch_xdp|which is not ours/ }]);
  t.match(await far.ask({ port: 44_000 }), /^web\d 0$/);
  end();
  await dispatcher.ensure(spec());
  t.not(programOn(host, 'eth1'), undefined, 'when it has gone, ours comes');
});

test('where the driver allows XDP no such MTU that is said, and packets go by tc', async (t) => {
  const { network, host, far, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const peerMtu = (bytes: number) => network.ip(`link set p1 mtu ${bytes}`);
  // A veth has room for a page: drivers/net/veth.c, veth_xdp_set.
  peerMtu(9_000);
  const warned: object[] = [];
  const log: BpfLog = { info: () => {}, warn: (fields) => warned.push(fields) };
  const dispatcher = await newDispatcher({ underlayNamespacePath: host.path, log });
  await dispatcher.ensure(spec());
  answer();
  t.equal(programOn(host, 'eth1'), undefined);
  t.match(warned, [{ cause: /to eth1.*ERANGE/, remedy: /an MTU that it allows/ }]);
  t.match(await far.ask({ port: 45_000 }), /^web\d 0$/);
  peerMtu(1_500);
  await dispatcher.ensure(spec());
  t.not(programOn(host, 'eth1'), undefined, 'when it fits, XDP comes');
  t.throws(() => peerMtu(9_000), 'and the driver allows no larger one');
});

test('what an earlier agent left on the NIC goes with the wish for it', async (t) => {
  const { host, lease, newDispatcher } = await stage(t);
  lease.raise(noLimit);
  const open = () => newDispatcher({ underlayNamespacePath: host.path });
  const leave = async () => {
    const dispatcher = await open();
    await dispatcher.ensure(spec());
    await dispatcher.stop();
    t.ok(programOn(host, 'eth1') !== undefined);
    return open();
  };
  const gone = (why: string) => until(why, () => programOn(host, 'eth1') === undefined);
  await (await leave()).ensure(service());
  await gone('the file wishes it no more');
  await (await leave()).remove('web');
  await gone('the service is elsewhere');
  await leave();
  const nowhere = 'of-no-namespace-';
  await newDispatcher({ underlayNamespacePath: host.path, namespacePrefix: nowhere });
  await gone('its namespace was taken away already');
});
