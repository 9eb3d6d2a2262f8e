import { type Test, test } from 'tap';
import type { ClusterConfig } from '../../src/config/types.js';
import { assignmentKey } from '../../src/control/keys.js';
import type { NetworkSpec, PeerSpec } from '../../src/network/types.js';
import { clusterConfig } from '../control/world.js';
import { IdleNetwork } from './idle-adapters.js';
import { roleHost } from './role-host.js';

/** Two networks, of which the first in every order cannot be set up on this host. */
class HalfBroken extends IdleNetwork {
  readonly peers: PeerSpec[] = [];
  readonly removed: string[] = [];
  present: readonly string[] = [];
  #waiting: (() => void)[] = [];

  override async ensureNetwork({ name }: NetworkSpec = blue): Promise<void> {
    if (name === 'blue') throw new Error('its MTU is more than the NIC carries');
  }
  override async setPeers(peers?: PeerSpec): Promise<void> {
    if (peers !== undefined) this.peers.push(peers);
    this.#tell();
  }
  override async removeNetwork(name: string): Promise<void> {
    this.removed.push(name);
    this.#tell();
  }
  override async observeNetworks(): Promise<readonly string[]> {
    return this.present;
  }
  /** Resolves when it is so after some call. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
  #tell(): void {
    for (const look of this.#waiting.splice(0)) look();
  }
}

const blue: NetworkSpec = {
  ...{ name: 'blue', fabric: 'vxlan', id: 100, mtu: 1500 },
  ...{ underlayInterface: 'eth1', underlayAddress: '10.66.0.1' },
};

function twoNetworks(): ClusterConfig {
  const { networks, hosts, personalities } = clusterConfig();
  const [first] = networks;
  const [one, other] = personalities;
  if (first === undefined || one === undefined || other === undefined) throw new Error('too few');
  return clusterConfig({
    networks: [first, { ...first, name: 'green', id: 200, subnets: ['10.20.0.0/24'] }],
    personalities: [
      one,
      {
        ...other,
        networks: [{ network: 'green', addresses: ['10.20.0.2/24'], mac: '02:00:00:00:00:12' }],
      },
    ],
    services: [],
    hosts: hosts.map((host) => (host.name === 'h1' ? { ...host, joins: ['blue', 'green'] } : host)),
  });
}

async function begin(t: Test, network: HalfBroken) {
  const host = await roleHost({ network, config: twoNetworks() });
  host.parts.forwarding.start();
  host.parts.forwarding.look();
  t.teardown(async () => {
    await host.parts.forwarding.stop();
    host.end();
  });
  const assign = (on: string, epoch: number) =>
    host.put(assignmentKey('personality', 'web2'), {
      ...{ host: on, incarnation: 1, epoch, state: 'assigned', cause: 'placed', reason: '' },
      ...{ to: null, failover: null },
    });
  return { assign };
}

test('a network that cannot be set up keeps no other from hearing of a takeover', async (t) => {
  const network = new HalfBroken();
  const { assign } = await begin(t, network);
  await assign('h2', 1);
  const via = (address: string) => () => network.peers.at(-1)?.unicast[0]?.via === address;
  await network.until(via('10.66.0.2'));
  await assign('h3', 2);
  await network.until(via('10.66.0.3'));
  t.same(network.peers.at(-1)?.network, 'green');
});

test('and none from being taken away', async (t) => {
  const network = new HalfBroken();
  network.present = ['former'];
  await begin(t, network);
  await network.until(() => network.removed.length > 0);
  t.same(network.removed, ['former']);
});
