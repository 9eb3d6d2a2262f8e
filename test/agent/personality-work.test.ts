import { test } from 'tap';
import { PersonalityWork } from '../../src/agent/personality-work.js';
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
