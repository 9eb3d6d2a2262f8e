import { type Test, test } from 'tap';
import type { HashMode } from '../../src/config/types.js';
import { chooser } from '../../src/dispatch/choose.js';
import { ServiceProgram } from '../../src/dispatch/service-program.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { tcVerdict, testRun } from '../../src/ffi/bpf-test-run.js';
import { bootNs } from '../../src/ffi/clock.js';
import { ownBpffs, quiet } from '../bpf-place.js';
import { ethernet, ipv4, ipv6, mac, tcp, udp } from './packets.js';
import { cases, client4, client6, gateway, TCP, UDP, v4, v6, vmac, web } from './program-cases.js';

const noLimit = 0xffff_ffff_ffff_ffffn;

function service(hash: HashMode = 'source-ip-port', healthy = true): DispatchSpec {
  return {
    service: 'web',
    namespace: 'svc-web',
    incarnation: 1,
    mac: vmac,
    addresses: ['10.10.0.100', 'fd00::100'],
    ports: [
      { protocol: 'tcp', first: 80, last: 80 },
      { protocol: 'tcp', first: 443, last: 445 },
      { protocol: 'udp', first: 2049, last: 2049 },
    ],
    hash,
    members: [1, 2, 3].map((number) => ({
      personality: `web${number}`,
      mac: `02:00:00:00:00:0${number}`,
      weight: number,
      healthy,
    })),
    seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  };
}

interface Bench {
  readonly program: ServiceProgram;
  setLease(deadlineNs: bigint): void;
}

/** The program as the dispatcher loads it, on maps of this test's own. */
function bench(t: Test, deadlineNs = noLimit): Bench {
  const place = ownBpffs(t);
  const guard = new BpfGuard({ ...place, log: quiet });
  const lease = openLeaseMap(guard.prepare(1));
  lease.raise(deadlineNs);
  const program = new ServiceProgram(place, 'web', 1);
  t.teardown(() => {
    program.close();
    guard.close();
    lease.close();
  });
  return { program, setLease: (deadline) => lease.raise(deadline) };
}

test('each frame goes where it should, changed in its MACs only', async (t) => {
  const { program } = bench(t);
  const spec = service();
  const choose = chooser(spec);
  await program.update(spec);
  for (const [name, frame, expected] of cases) {
    const before = program.counters();
    const { verdict, frame: out } = testRun(program.programFd, frame);
    const after = program.counters();
    if (expected === 'stack') {
      t.equal(verdict, tcVerdict.continue, `${name}: the stack's`);
      t.equal(after.passed, before.passed + 1, `${name}: counted`);
    } else if (typeof expected === 'string') {
      const reason = expected.slice('drop '.length);
      t.equal(verdict, tcVerdict.drop, `${name}: dropped`);
      t.equal(after.dropped[reason], (before.dropped[reason] ?? 0) + 1, `${name}: ${reason}`);
    } else {
      const defaults = { address: '', port: 40001, protocol: 'tcp', servicePort: 80 } as const;
      const choice = choose({ ...defaults, ...expected });
      const wanted = Buffer.concat([mac(choice?.mac ?? ''), mac(vmac), frame.subarray(12)]);
      t.equal(verdict, tcVerdict.redirect, `${name}: sent on`);
      t.same(out, wanted, `${name}: to ${choice?.member}`);
      const of = (counters: typeof after) =>
        counters.forwarded.find(({ personality }) => personality === choice?.member);
      t.equal(of(after)?.packets, (of(before)?.packets ?? 0) + 1);
      t.equal(of(after)?.bytes, (of(before)?.bytes ?? 0) + frame.length);
    }
    if (typeof expected === 'string') t.same(out, frame, `${name}: untouched`);
  }
});

test('the packet program and `choose` agree, in every mode', async (t) => {
  const { program } = bench(t);
  let random = 7;
  const next = (limit: number) => {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    return (random >>> 8) % limit;
  };
  for (const hash of ['source-ip', 'source-ip-port', '5-tuple'] as const) {
    const spec = service(hash);
    const choose = chooser(spec);
    await program.update(spec);
    let wrong = 0;
    const seen = new Set<string>();
    for (let round = 0; round < 1_500; round += 1) {
      const six = round % 2 === 1;
      const address = six
        ? `fd00::${next(65536).toString(16)}:${next(65536).toString(16)}`
        : `10.${next(256)}.${next(256)}.${next(256)}`;
      const protocol = next(2) === 0 ? 'tcp' : 'udp';
      const servicePort = protocol === 'udp' ? 2049 : ([80, 443, 444, 445][next(4)] ?? 80);
      const port = next(65536);
      const payload = (protocol === 'tcp' ? tcp : udp)(port, servicePort);
      const number = protocol === 'tcp' ? TCP : UDP;
      const frame = six
        ? ethernet(
            vmac,
            gateway,
            v6,
            ipv6({ from: address, to: 'fd00::100', next: number }, payload),
          )
        : ethernet(
            vmac,
            gateway,
            v4,
            ipv4({ from: address, to: '10.10.0.100', protocol: number }, payload),
          );
      const choice = choose({ address, port, protocol, servicePort });
      const out = testRun(program.programFd, frame);
      const to = out.frame.toString('hex', 0, 6);
      seen.add(to);
      if (out.verdict !== tcVerdict.redirect || to !== choice?.mac.replaceAll(':', '')) wrong += 1;
    }
    t.equal(wrong, 0, hash);
    t.equal(seen.size, 3, 'all members are used');
  }
});

test('without a lease nothing is sent on; from the deadline on it is over', async (t) => {
  const { program, setLease } = bench(t, 0n);
  await program.update(service());
  const frame = client4(TCP, web);
  t.equal(testRun(program.programFd, frame).verdict, tcVerdict.drop, 'never held');
  setLease(bootNs() - 1n);
  t.equal(testRun(program.programFd, frame).verdict, tcVerdict.drop, 'over');
  t.equal(program.counters().dropped.lease, 2);
  setLease(bootNs() + 60_000_000_000n);
  t.equal(testRun(program.programFd, frame).verdict, tcVerdict.redirect, 'held');
});

test('with no member that is up, packets are dropped and counted', async (t) => {
  const { program } = bench(t);
  await program.update(service('source-ip', false));
  const { verdict, frame } = testRun(program.programFd, client4(TCP, web));
  t.equal(verdict, tcVerdict.drop);
  t.same(frame, client4(TCP, web));
  t.equal(program.counters().dropped['no-member'], 1);
  await program.update(service('source-ip'));
  t.equal(testRun(program.programFd, client4(TCP, web)).verdict, tcVerdict.redirect);
});

test('a service of one family or protocol leaves the rest to the stack', async (t) => {
  const { program } = bench(t);
  const only4 = { ...service(), addresses: ['10.10.0.100'], ports: service().ports.slice(0, 1) };
  await program.update(only4);
  t.equal(testRun(program.programFd, client4(TCP, web)).verdict, tcVerdict.redirect);
  t.equal(testRun(program.programFd, client6(TCP, web)).verdict, tcVerdict.continue);
  const fragment = client4(UDP, Buffer.alloc(16), { fragment: 5 });
  t.equal(testRun(program.programFd, fragment).verdict, tcVerdict.continue);
});

test('a member keeps its counters while others come and go', async (t) => {
  const { program } = bench(t);
  const spec = service('source-ip');
  const only = (...names: readonly string[]) => ({
    ...spec,
    members: spec.members.filter(({ personality }) => names.includes(personality)),
  });
  const packets = () =>
    Object.fromEntries(
      program.counters().forwarded.map((each) => [each.personality, each.packets]),
    );
  await program.update(only('web2'));
  testRun(program.programFd, client4(TCP, web));
  t.same(packets(), { web2: 1 });
  t.equal(await program.update(only('web2')), false, 'nothing to do');
  t.equal(await program.update(only('web1')), true);
  testRun(program.programFd, client4(TCP, web));
  await program.update(only('web2', 'web3'));
  t.same(packets(), { web1: 1, web2: 1, web3: 0 });
});

test('what cannot be dispatched is refused and changes nothing', async (t) => {
  const { program } = bench(t);
  await program.update(service());
  const wrong: readonly Partial<DispatchSpec>[] = [
    { seed: '' },
    { mac: '' },
    { addresses: ['10.10.0.100', '10.10.0.101'] },
    { addresses: ['web'] },
  ];
  for (const part of wrong) {
    await t.rejects(program.update({ ...service(), ...part }), { code: 'US_DISPATCH_SPEC' });
  }
  t.equal(testRun(program.programFd, client4(TCP, web)).verdict, tcVerdict.redirect);
});
