import tap, { test } from 'tap';
import { chooser } from '../../src/dispatch/choose.js';
import { checksumErrors, noLimit, service, stage, vip4, vip6 } from './stage.js';

tap.setTimeout(120_000);

for (const hash of ['source-ip', 'source-ip-port', '5-tuple'] as const) {
  test(`every client reaches the member that was chosen for it, by ${hash}`, async (t) => {
    const { far, near, members, lease, newNft, answer } = await stage(t);
    lease.raise(noLimit);
    const dispatcher = newNft();
    const spec = service({ dataPlane: 'nftables', hash });
    const chosen = chooser(spec);
    await dispatcher.ensure(spec);
    answer();
    for (const client of [far, near]) {
      for (const address of [vip4, vip6]) {
        for (const protocol of ['tcp', 'udp'] as const) {
          const asks = Array.from({ length: 12 }, (_, at) => ({
            protocol,
            address,
            port: 41_000 + at,
          }));
          const answers = await Promise.all(asks.map((ask) => client.ask(ask)));
          const wanted = asks.map((ask) => `${chosen(client.flow(ask))?.member} 0`);
          t.same(answers, wanted, `${client === far ? 'far' : 'near'} ${protocol} ${address}`);
        }
        const big = { address, port: 42_000, bytes: 3_000_000 };
        t.equal(await client.ask(big), `${chosen(client.flow(big))?.member} 3000000`, 'batches');
        const inParts = { protocol: 'udp', address, port: 42_001, bytes: 8_000 } as const;
        const byAddress = chosen({ ...client.flow(inParts), fragment: true });
        t.equal(await client.ask(inParts), `${byAddress?.member} 8000`, 'fragments at one member');
      }
    }
    t.same(await Promise.all(members.map(checksumErrors)), [0, 0, 0], 'no bad checksums');
    t.equal(await far.at.pings(vip4), 3, 'the dispatcher answers echo itself');
    const { forwarded, dropped, received, passed, by } = await dispatcher.counters('web');
    t.equal(by, 'nftables');
    const packets = forwarded.reduce((sum, one) => sum + one.packets, 0);
    const begun = forwarded.reduce((sum, { newFlows }) => sum + newFlows, 0);
    t.ok(packets > 200 && forwarded.every((one) => one.bytes >= one.packets * 20), `${packets}`);
    t.equal(begun, 2 * 2 * 13, 'connections that began');
    t.ok(passed >= 3, 'echo went to the stack');
    t.same([dropped, received], [{ 'no-member': 0, loop: 0 }, packets + passed]);
  });
}
