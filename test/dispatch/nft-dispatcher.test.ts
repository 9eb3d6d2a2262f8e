import { execFileSync } from 'node:child_process';
import tap, { test } from 'tap';
import { removeFilter } from '../../src/bpf/attach.js';
import { openLease } from '../../src/bpf/lease.js';
import { keyOf32 } from '../../src/bpf/programs.js';
import { chooser } from '../../src/dispatch/choose.js';
import { Dispatchers } from '../../src/dispatch/dispatchers.js';
import type { DispatchAdapter, DispatchSpec } from '../../src/dispatch/types.js';
import { UnderstudyError } from '../../src/errors.js';
import { closeFd, updateElement } from '../../src/ffi/bpf-map.js';
import { bootNs } from '../../src/ffi/clock.js';
import { quiet } from '../bpf-place.js';
import { noLimit, service, stage, vip4 } from './stage.js';

tap.setTimeout(120_000);

const byNft = (more: Partial<DispatchSpec> = {}) => service({ dataPlane: 'nftables', ...more });

test('the kernel’s guard holds it to the lease, in and out; without a guard there are no rules', async (t) => {
  const { far, near, dispatching, lease, guard, newNft, answer } = await stage(t);
  const dispatcher = newNft();
  await dispatcher.ensure(byNft());
  answer();
  t.equal(await far.at.pings(vip4), 0, 'none held yet');
  lease.raise(noLimit);
  far.at.ip('neigh flush dev eth0');
  t.match(await far.ask({ port: 43_000 }), /^web\d 0$/);
  t.match(await near.ask({ port: 43_001 }), /^web\d 0$/);
  const { forwarded } = await dispatcher.counters('web');
  // Pulse only ever raises it; here it is over at once.
  const deadline = Buffer.alloc(8);
  deadline.writeBigUInt64LE(bootNs());
  const map = openLease(guard.prepare(1));
  updateElement(map, keyOf32(0), deadline);
  closeFd(map);
  const dark = await Promise.all([far, near].map((one) => one.ask({ port: 44_000 })));
  t.same(dark, ['timeout', 'timeout'], 'over, and nothing is answered');
  t.same((await dispatcher.counters('web')).forwarded, forwarded, 'nor sent on');
  lease.raise(noLimit);
  const at = {
    namespacePath: dispatching.path,
    interfaceName: 'eth0',
    priority: 1,
    handle: 0x7573,
  };
  for (const [hook, name] of [
    ['ingress', 'us_guard_in'],
    ['egress', 'us_guard_out'],
  ] as const) {
    removeFilter({ ...at, hook }, name);
    await t.rejects(dispatcher.ensure(byNft()), { code: 'US_DISPATCH_UNGUARDED' }, hook);
    guard.attach(dispatching.path, 'eth0', 1);
  }
  await dispatcher.ensure(byNft());
});

test('a change moves what it must, counters go on, and an agent’s restart adopts what stands', async (t) => {
  const { far, dispatching, lease, newNft, answer } = await stage(t);
  lease.raise(noLimit);
  const first = newNft();
  const whole = byNft();
  await first.ensure(whole);
  answer();
  const ask = async (spec: DispatchSpec, from: number) => {
    const chosen = chooser(spec);
    const asks = Array.from({ length: 40 }, (_, at) => ({ port: from + at }));
    const answers = await Promise.all(asks.map((one) => far.ask(one)));
    const wanted = asks.map((one) => `${chosen(far.flow(one))?.member} 0`);
    t.same(answers, wanted, `from ${from}`);
  };
  const packets = async (dispatcher: DispatchAdapter) =>
    (await dispatcher.counters('web')).forwarded.find(({ personality }) => personality === 'web2')
      ?.packets ?? 0;
  await ask(whole, 20_000);
  const counted = await packets(first);
  t.ok(counted > 0);
  const changes: readonly Partial<DispatchSpec>[] = [
    { members: whole.members.map((one, at) => ({ ...one, weight: at === 0 ? 0 : 2 })) },
    { members: whole.members.map((one, at) => ({ ...one, healthy: at !== 2 })) },
    { members: whole.members.slice(1) },
    { ports: [...whole.ports, { protocol: 'tcp', first: 8_000, last: 8_999 }] },
    { hash: '5-tuple' },
    {},
  ];
  for (const [at, change] of changes.entries()) {
    const spec = byNft(change);
    await first.ensure(spec);
    await ask(spec, 21_000 + 100 * at);
  }
  t.ok((await packets(first)) > counted, 'the counter of one that stayed went on');
  await first.stop();
  await ask(whole, 30_000);
  const before = await far.at.exec('true').then(() => handles(dispatching.path));
  const second = newNft();
  await second.ensure(whole);
  t.equal(await handles(dispatching.path), before, 'adopted as it is');
  t.ok((await packets(second)) > counted);
  await second.ensure(byNft({ members: whole.members.slice(1) }));
  await second.stop();
  const third = newNft();
  await third.ensure(whole);
  await ask(whole, 31_000);
  await third.ensure(byNft({ members: whole.members.map((one) => ({ ...one, healthy: false })) }));
  t.equal(await far.ask({ port: 32_000 }), 'timeout', 'nobody is up');
  t.ok(((await third.counters('web')).dropped['no-member'] ?? 0) > 0);
  await third.remove('web');
  t.equal(await handles(dispatching.path), '', 'nothing is left');
  await third.remove('web');

  async function handles(path: string): Promise<string> {
    return far.at.exec('nsenter', `--net=${path}`, 'nft', '-a', '-t', 'list', 'tables');
  }
});

test('a NIC or namespace that is made anew has the rules again, also after a restart', async (t) => {
  const { far, host, dispatching, lease, guard, newNft, answer } = await stage(t);
  lease.raise(noLimit);
  const first = newNft();
  await first.ensure(byNft());
  answer();
  const link = () => {
    const made = `eth0 netns ${dispatching.name} address ${service().mac} type macvlan mode bridge`;
    host.ip(`link add link eth1 name ${made}`);
    guard.attach(dispatching.path, 'eth0', 1);
  };
  const anew = () => {
    dispatching.ip('link delete eth0');
    link();
  };
  const answered = async (port: number) => {
    answer();
    t.match(await far.ask({ port }), /^web\d 0$/);
  };
  anew();
  await first.ensure(byNft());
  await answered(45_000);
  await first.stop();
  anew();
  const second = newNft();
  await second.ensure(byNft());
  await answered(45_001);

  // The namespace too, and in the second round with a NIC of the same number.
  const { path, name } = dispatching;
  for (const round of ['first', 'second']) {
    execFileSync('ip', ['netns', 'delete', name]);
    execFileSync('ip', ['netns', 'add', name]);
    link();
    await second.ensure(byNft());
    const tables = await far.at.exec('nsenter', `--net=${path}`, 'nft', 'list', 'tables');
    t.match(tables, 'netdev understudy', round);
  }
});

test('BPF where the kernel takes it; else nftables, unless BPF is asked for; and back', async (t) => {
  const { far, dispatching, lease, newDispatcher, newNft, answer } = await stage(t);
  lease.raise(noLimit);
  const bpf = await newDispatcher();
  let code: UnderstudyError['code'] = 'US_BPF_NOT_NOW';
  const refused = async () => {
    throw new UnderstudyError({
      code,
      ...{ action: 'cannot load', object: 'dispatch', cause: 'EINVAL', remedy: '' },
    });
  };
  const programs = () => dispatching.tc('filter show dev eth0 ingress').match(/us_dispatch:/g);
  const answered = async (spec: DispatchSpec, port: number) =>
    t.equal(await far.ask({ port }), `${chooser(spec)(far.flow({ port }))?.member} 0`);

  const both = new Dispatchers(bpf, newNft(), quiet);
  await both.ensure(service());
  answer();
  t.equal(programs()?.length, 1);
  t.equal((await both.counters('web')).by, undefined);
  await answered(service(), 50_000);
  await both.ensure(byNft());
  t.equal(programs(), null, 'asked for, and BPF is gone');
  await answered(byNft(), 50_001);
  t.match(await both.allCounters(), [{ by: 'nftables' }]);
  await both.ensure(service());
  t.equal(programs()?.length, 1, 'and back');
  await answered(service(), 50_002);
  await both.remove('web');

  // An agent that finds another kernel.
  let takes = false;
  const without: DispatchAdapter = {
    start: async () => {},
    stop: async () => {},
    warm: refused,
    ensure: (spec) => (takes ? bpf.ensure(spec) : refused()),
    remove: (name) => bpf.remove(name),
    counters: (name) => bpf.counters(name),
    memoryEveryMs: () => undefined,
    memory: async () => undefined,
    allCounters: () => bpf.allCounters(),
  };
  const other = new Dispatchers(without, newNft(), quiet);
  for (const time of ['once', 'twice', 'again']) {
    await t.rejects(other.ensure(service()), { code }, `short of memory, ${time}: no refusal`);
  }
  code = 'US_BPF_LOAD';
  await t.rejects(other.ensure(service()), { code }, 'once');
  await other.ensure(service());
  t.equal((await other.counters('web')).by, 'nftables');
  await answered(byNft(), 50_003);
  await other.warm(1);
  await t.rejects(other.ensure(service({ dataPlane: 'bpf' })), { code: 'US_BPF_LOAD' });
  takes = true;
  await other.ensure(service({ dataPlane: 'bpf' }));
  t.equal((await other.counters('web')).by, undefined, 'who asks for it gets it');
  await other.ensure(service());
  t.equal((await other.counters('web')).by, 'nftables', 'whoever does not is moved no second time');
  await other.stop();

  const again = new Dispatchers(bpf, newNft(), quiet);
  await again.ensure(service());
  await answered(service(), 50_004);
  t.equal(programs()?.length, 1, 'an agent on a kernel that takes it');
  t.notMatch(
    await far.at.exec('nsenter', `--net=${dispatching.path}`, 'nft', 'list', 'tables'),
    'understudy',
    'what the one before left is gone',
  );
});
