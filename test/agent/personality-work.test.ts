import { test } from 'tap';
import { PersonalityWork } from '../../src/agent/personality-work.js';
import { assignmentKey, hostKey } from '../../src/control/keys.js';
import { IdleNetwork } from './idle-adapters.js';
import { roleHost } from './role-host.js';

const { signal } = new AbortController();

async function worker() {
  const done: string[] = [];
  class Watched extends IdleNetwork {
    override async ensureNamespace() {
      done.push('namespace');
    }
    override async announce() {
      done.push('announcement');
    }
    override async silence() {
      done.push('silence');
    }
    override async removeNamespace() {
      done.push('removal');
    }
  }
  const network = new Watched();
  const host = await roleHost({ network });
  const { parts } = host;
  const hurry = {
    begin: () => {
      done.push('hurry');
      return () => void done.push('calm');
    },
  };
  return { ...host, done, work: new PersonalityWork('web1', { ...parts, hurry }) };
}

test('a takeover goes before other work until it is announced; a repair does not', async (t) => {
  const { work, done, end } = await worker();
  await work.take(7, 1, null, signal);
  t.equal(done[0], 'hurry');
  t.ok(done.indexOf('announcement') < done.indexOf('calm'), done.join(' '));
  done.length = 0;
  await work.take(7, 1, null, signal);
  t.notOk(done.includes('hurry'));
  end();
});

test('one that fails is in no hurry any more', async (t) => {
  const { work, done, parts, end } = await worker();
  Object.assign(parts.network, {
    ensureNamespace: async () => {
      throw new Error('no such device');
    },
  });
  await t.rejects(work.take(7, 1, null, signal), { message: /no such device/ });
  t.same(done, ['hurry', 'calm']);
  end();
});

test('NICs are shut before the hand-over, and removed where it cannot be written', async (t) => {
  const { work, done, parts, put, end } = await worker();
  const assigned = { incarnation: 1, epoch: 7, cause: 'move', reason: '', failover: null };
  await put(hostKey('h4'), { incarnation: 1, bootToken: 'b', enforced: true });
  await put(assignmentKey('personality', 'web1'), {
    ...assigned,
    ...{ host: 'h1', state: 'draining', to: 'h4' },
  });
  await parts.watch.until(() => parts.watch.view.assignments.size === 1, signal);
  await work.take(7, 1, null, signal);
  done.length = 0;
  await work.release(signal);
  t.same(done, ['silence'], 'nothing else of the network');
  const { transact } = parts.store;
  parts.store.transact = async () => ({ done: false, revision: 0, current: [] });
  await t.rejects(work.handOver(0), { message: /has changed/ });
  t.same(done, ['silence', 'removal']);
  parts.store.transact = transact;
  end();
});
