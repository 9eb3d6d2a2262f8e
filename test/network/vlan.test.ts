import tap, { type Test, test } from 'tap';
import { macText } from '../../src/network/addresses.js';
import type { NamespaceSpec, NetworkSpec } from '../../src/network/types.js';
import { Capture, insidePath, NetLab, nic, pings } from './lab.js';

const signal = new AbortController().signal;

function role(name: string, epoch: number, nics: NamespaceSpec['nics']): NamespaceSpec {
  const more = { incarnation: 1, routes: [], loopbackAddresses: [] };
  return { name, cluster: 'test', epoch, nics, ...more };
}

function vlan(name: string, id: number, host: number): NetworkSpec {
  const underlay = { underlayInterface: 'eth1', underlayAddress: `10.66.0.${host}` };
  return { name, fabric: 'vlan', id, mtu: 1500, ...underlay };
}

/** Says why VLANs cannot be tested on this kernel; undefined where they can. */
function missing(): string | undefined {
  const lab = new NetLab('vlprobe');
  try {
    lab.addHost('h1', 1);
    lab.inside('h1', 'ip link add link eth1 name probe type vlan id 100');
    return undefined;
  } catch (thrown) {
    return `this kernel has no 802.1Q (8021q): ${String((thrown as { stderr?: string }).stderr).trim()}`;
  } finally {
    lab.remove();
  }
}

// A user-mode-linux guest, where this is run for its 8021q, is some ten times slower.
tap.setTimeout(120_000);

const reason = missing();

function vlanTest(name: string, body: (t: Test) => Promise<void>): void {
  test(name, reason === undefined ? {} : { skip: reason }, body);
}

vlanTest('personalities talk over their VLAN, and nobody else hears them', async (t) => {
  const lab = new NetLab('vl');
  t.teardown(() => lab.remove());
  for (const number of [1, 2, 3]) lab.addHost(`h${number}`, number);
  // A machine with no VLAN on its port, but with an address of that very subnet.
  lab.inside('h3', 'ip addr add 10.10.0.30/24 dev eth1');
  const h1 = lab.adapter('h1');
  const h2 = lab.adapter('h2');
  t.teardown(() => Promise.all([h1.stop(), h2.stop()]));
  const web1 = nic('blue', 0x11, '10.10.0.11/24', 'fd00::11/64');
  const web2 = nic('blue', 0x12, '10.10.0.12/24', 'fd00::12/64');
  const red1 = nic('red', 0x21, '10.10.0.21/24');
  await h1.ensureNetwork(vlan('blue', 100, 1), signal);
  await h2.ensureNetwork(vlan('blue', 100, 2), signal);
  await h2.ensureNetwork(vlan('red', 200, 2), signal);
  await h1.ensureNetwork(vlan('blue', 100, 1), signal);
  await h2.ensureNamespace(role('red1', 1, [red1]), signal);
  const outsider = new Capture(lab.rolePath('h2', 'red1'), 'eth0');
  t.teardown(() => outsider.close());
  await h1.ensureNamespace(role('web1', 1, [web1]), signal);
  await h2.ensureNamespace(role('web2', 1, [web2]), signal);
  const web2Path = lab.rolePath('h2', 'web2');
  const member = new Capture(lab.rolePath('h1', 'web1'), 'eth0');
  t.teardown(() => member.close());

  await t.test('members reach each other', async (t) => {
    t.ok(await pings(web2Path, '10.10.0.11'), 'IPv4');
    t.ok(await pings(web2Path, 'fd00::11'), 'IPv6');
    const full = insidePath(web2Path, 'ping -n -c 1 -W 1 -M do -s 1472 10.10.0.11');
    t.match(full, '1 received', 'frames of full size');
    t.equal((await h2.probe('web2', 'blue', '10.10.0.11', 1_000, signal)).mac, web1.mac);
    t.equal((await h2.probe('web2', 'blue', 'fd00::11', 1_000, signal)).mac, web1.mac);
  });

  await t.test('a machine without the VLAN reaches nobody and is heard by nobody', async (t) => {
    t.notOk(await pings(lab.path('h3'), '10.10.0.11'));
    t.notMatch(lab.inside('h3', 'ip neighbour show'), /lladdr 02:00:5e/);
    const mac = /link\/ether (\S+)/.exec(lab.inside('h3', 'ip -o link show dev eth1'))?.[1] ?? '';
    t.match(mac, /:/);
    t.notOk(member.frames.some((frame) => macText(frame.subarray(6, 12)) === mac));
    t.notOk(await pings(lab.path('h1'), '10.10.0.12'), 'the host itself is not on it either');
    t.notMatch(lab.inside('h1', 'ip -o link show'), /vlan|carrier|@eth1/);
  });

  await t.test('failover: announced from the new port', async (t) => {
    await h1.removeNamespace('web1', signal);
    const heard = new Capture(web2Path, 'eth0');
    t.teardown(() => heard.close());
    await h2.ensureNamespace(role('web1', 2, [web1]), signal);
    await h2.announce({ name: 'web1', nics: [web1] }, signal);
    const fromWeb1 = (type: number) => (frame: Buffer) =>
      frame.readUInt16BE(12) === type && macText(frame.subarray(6, 12)) === web1.mac;
    t.ok(await heard.frame(fromWeb1(0x0806)));
    t.ok(await heard.frame(fromWeb1(0x86dd)));
    t.ok(await pings(web2Path, '10.10.0.11'));
  });

  await t.test('who is on another VLAN received no frame of any kind', async (t) => {
    t.strictSame(outsider.frames, []);
    t.notOk(await pings(lab.rolePath('h2', 'red1'), '10.10.0.12'));
  });

  await t.test('removal leaves nothing', async (t) => {
    await t.rejects(h2.removeNetwork('red', signal), { code: 'US_NET_IN_USE' });
    outsider.close();
    for (const name of ['web1', 'web2', 'red1']) await h2.removeNamespace(name, signal);
    for (const adapter of [h1, h2]) {
      await adapter.removeNetwork('blue', signal);
      await adapter.removeNetwork('red', signal);
    }
    t.strictSame(lab.leftovers(), []);
  });
});

vlanTest("somebody else's device of the same VLAN is refused and stays", async (t) => {
  const lab = new NetLab('vlforeign');
  t.teardown(() => lab.remove());
  lab.addHost('h1', 1);
  const h1 = lab.adapter('h1');
  t.teardown(() => h1.stop());
  lab.inside('h1', 'ip link add link eth1 name eth1.100 type vlan id 100');
  await t.rejects(h1.ensureNetwork(vlan('blue', 100, 1), signal), { code: 'US_NET_EXISTS' });
  t.match(lab.inside('h1', 'ip -o link show'), 'eth1.100');
});

if (reason !== undefined) {
  test('where 8021q is missing the error says so', async (t) => {
    const lab = new NetLab('vlmissing');
    t.teardown(() => lab.remove());
    lab.addHost('h1', 1);
    const h1 = lab.adapter('h1');
    t.teardown(() => h1.stop());
    await t.rejects(h1.ensureNetwork(vlan('blue', 100, 1), signal), {
      code: 'US_NET_UNSUPPORTED',
      reason: /Unknown device type/,
    });
    await h1.removeNetwork('blue', signal);
    t.strictSame(lab.leftovers(), []);
  });
}
