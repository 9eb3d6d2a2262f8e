import { test } from 'tap';
import { Owner } from '../../src/agent/owner.js';
import { assignmentKey, hostKey, voteKey } from '../../src/control/keys.js';
import type { AssignmentRecord } from '../../src/control/records.js';
import { VirtualTimers } from '../store/virtual-timers.js';
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
    hurry: parts.hurry,
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

test('the first vote against whose role is kept ready here puts the host in a hurry, once, until it has come', async (t) => {
  const { parts, put: write, end } = await roleHost({});
  const { watch, network, storage, workload } = parts;
  const timers = new VirtualTimers();
  let hurries = 0;
  let ended = 0;
  const hurry = {
    begin: () => {
      hurries++;
      return () => {
        ended++;
      };
    },
  };
  const owner = new Owner({
    host: 'h1',
    watch,
    log: quiet,
    timers,
    network,
    storage,
    workload,
    hurry,
    roleParts: () => parts,
    dropNetworks: async () => undefined,
    onState: () => undefined,
    onGone: () => undefined,
  });
  const enrolled = { incarnation: 1, bootToken: 'b', enforced: true };
  const assigned: AssignmentRecord = {
    host: 'h4',
    incarnation: 1,
    epoch: 3,
    state: 'assigned',
    cause: 'move',
    reason: 'as asked for',
    to: null,
    failover: null,
  };
  /** Of the next change: the first look is at once. */
  const heard = () => {
    let looks = 0;
    return () => looks++ > 0;
  };
  const news = async (key: string, value: object) => {
    const told = watch.until(heard(), new AbortController().signal);
    await write(key, value);
    await told;
  };
  owner.start();
  owner.setIncarnation(1);
  for (const host of ['h1', 'h4']) await news(hostKey(host), enrolled);
  await news(assignmentKey('personality', 'web1'), assigned);
  await timers.runMs(1_000);
  const vote = { state: 'expired', lastAckAgoMs: 201, atMs: 0, bootId: 'b' };
  await news(voteKey('h3', 1, 'h2'), vote);
  t.equal(hurries, 0, 'against a host that has nothing to lose');
  await news(voteKey('h4', 1, 'h2'), vote);
  t.equal(hurries, 1);
  await news(voteKey('h4', 1, 'h3'), vote);
  t.equal(hurries, 1);
  t.equal(ended, 0);
  await news(assignmentKey('personality', 'web1'), {
    ...assigned,
    host: 'h1',
    epoch: 4,
    cause: 'failover',
  });
  t.equal(ended, 1, 'the workload need not start in it');
  await owner.stop();
  end();
});
