import { test } from 'tap';
import type { PeerFilter } from '../../src/network/types.js';
import { NetLab } from './lab.js';

const signal = new AbortController().signal;

test('what waits for a neighbour is thrown away, and nothing else', async (t) => {
  const lab = new NetLab('wait');
  t.teardown(() => lab.remove());
  for (const [index, host] of ['h1', 'h2'].entries()) lab.addHost(host, index + 1);
  let released = 0;
  const peerFilter: PeerFilter = { set: () => {}, hold: () => {}, release: () => void released++ };
  const h1 = lab.adapter('h1', { peerFilter });
  t.teardown(() => h1.stop());
  await h1.start(signal);
  lab.inside('h1', 'ping -n -q -c 1 -w 5 10.66.0.2');
  // Nobody has these: the kernel asks for each three times, a second apart, and what is sent waits.
  for (const nobody of ['10.66.0.99', 'fd66::99']) {
    t.throws(() => lab.inside('h1', `ping -n -q -c 1 -w 1 ${nobody}`));
  }
  const unresolved = () => lab.inside('h1', 'ip neigh show dev eth1 nud incomplete').trim();
  t.match(unresolved(), /10\.66\.0\.99/);
  await h1.discardWaiting('eth1', signal);
  t.equal(unresolved(), '');
  t.match(lab.inside('h1', 'ip neigh show dev eth1'), /10\.66\.0\.2 lladdr/, 'who answered stays');
  t.equal(released, 1);
  await h1.discardWaiting('eth7', signal);
  t.equal(released, 1, 'a NIC that is not there');
});
