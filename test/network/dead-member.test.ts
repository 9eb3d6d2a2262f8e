import { test } from 'tap';
import { insidePath, NetLab, nic, vxlan } from './lab.js';

const signal = new AbortController().signal;
const nobody = '10.66.0.99';

/**
 * What goes to an unknown MAC is copied to every member of the network. The copies for one that is
 * dead wait for its address to be resolved, and are charged to the sockets that sent them meanwhile.
 */
test('a member that does not answer holds up nobody’s traffic', async (t) => {
  const lab = new NetLab('dead');
  t.teardown(() => lab.remove());
  for (const [index, host] of ['h1', 'h2'].entries()) lab.addHost(host, index + 1);
  const [h1, h2] = ['h1', 'h2'].map((host) => lab.adapter(host));
  if (h1 === undefined || h2 === undefined) throw new Error('two hosts');
  t.teardown(async () => {
    await h1.stop();
    await h2.stop();
  });
  const web1 = nic('blue', 0x11, '10.10.0.11/24');
  const web2 = nic('blue', 0x12, '10.10.0.12/24');
  const common = { cluster: 'test', epoch: 1, incarnation: 1, routes: [], loopbackAddresses: [] };
  const toWeb1 = { mac: web1.mac, via: '10.66.0.1' };
  for (const adapter of [h1, h2]) await adapter.start(signal);
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h2.ensureNetwork(vxlan('blue', 100, 2), signal);
  // h1 does not know where web2 is, as with a client behind a gateway: it asks all, the dead one first.
  const flood = [nobody, '10.66.0.2'];
  await h1.setPeers({ network: 'blue', unicast: [], flood, allowed: flood }, signal);
  const back = ['10.66.0.1'];
  await h2.setPeers({ network: 'blue', unicast: [toWeb1], flood: back, allowed: back }, signal);
  await h1.ensureNamespace({ ...common, name: 'web1', nics: [web1] }, signal);
  await h2.ensureNamespace({ ...common, name: 'web2', nics: [web2] }, signal);
  const path = lab.rolePath('h2', 'web2');
  insidePath(path, 'ping -n -c 1 -w 5 10.10.0.11');
  // Longer than the kernel keeps asking for one neighbour (three times a second apart).
  const said = insidePath(path, 'ping -n -q -i 0.002 -c 2000 10.10.0.11');
  t.match(said, /2000 packets transmitted, 2000 received/);
});
