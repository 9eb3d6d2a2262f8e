import { test } from 'tap';
import { Owner } from '../../src/agent/owner.js';
import { IdleNetwork } from './idle-adapters.js';
import { quiet, roleHost } from './role-host.js';

/** A host on which an earlier agent left a namespace, and whose kernel answers the second time. */
class Leftover extends IdleNetwork {
  asked = 0;
  removed: (name: string) => void = () => undefined;

  override async observe() {
    this.asked++;
    if (this.asked === 1) throw new Error('No buffer space available');
    return [{ name: 'web1', epoch: 3, incarnation: 1, up: true, nics: [] }];
  }

  override async removeNamespace(name: string) {
    this.removed(name);
  }
}

test('what an earlier agent left is looked for until it is seen, with no news needed', async (t) => {
  const network = new Leftover();
  const { parts, end } = await roleHost({ network });
  const { watch, storage, workload, timers } = parts;
  const owner = new Owner({
    host: 'h1',
    watch,
    log: quiet,
    timers,
    network,
    storage,
    workload,
    roleParts: () => parts,
    dropNetworks: async () => undefined,
    onState: () => undefined,
    onGone: () => undefined,
  });
  owner.start();
  const removed = new Promise<string>((resolve) => {
    network.removed = resolve;
  });
  owner.setIncarnation(1);
  t.equal(await removed, 'web1', 'nobody assigned it to this host: it goes');
  t.equal(network.asked, 2);
  await owner.stop();
  end();
});
