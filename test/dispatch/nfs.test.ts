import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tap, { test } from 'tap';
import { chooser } from '../../src/dispatch/choose.js';
import { ganesha, ports } from './daemons.js';
import { noLimit, service, stage, vip4 } from './stage.js';

tap.setTimeout(120_000);
const names = ['web1', 'web2', 'web3'];
const tcp = (port: number) => ({ protocol: 'tcp' as const, first: port, last: port });
const urls = {
  'version 3': (file: string) =>
    `nfs://${vip4}/srv/${file}?version=3&nfsport=${ports.nfs}&mountport=${ports.mount}`,
  'version 4': (file: string) => `nfs://${vip4}/srv/${file}?version=4`,
};

test('NFS: what a client mounts, reads and writes is at one member, with the mount protocol on its own port', async (t) => {
  const { far, members, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const spec = service({ ports: [tcp(ports.nfs), tcp(ports.mount)], hash: 'source-ip' });
  const dispatcher = await newDispatcher();
  await dispatcher.ensure(spec);
  answer();
  await Promise.all(members.map((member, at) => ganesha(t, member, names[at] ?? '')));
  const chosen = chooser(spec);
  const clients = Array.from({ length: 8 }, (_, at) => `10.10.0.${210 + at}`);
  const memberOf = (address: string) =>
    chosen({ address, port: 1, protocol: 'tcp', servicePort: ports.nfs })?.member ?? '';
  t.equal(new Set(clients.map(memberOf)).size, 3, 'the clients belong to all members');
  for (const address of clients) far.at.ip(`addr add ${address}/24 dev eth0`);
  /** The program cannot be told where to call from; its route can. */
  const from = (address: string, ...command: readonly string[]) => {
    far.at.ip(`route replace ${vip4}/32 dev eth0 src ${address}`);
    return far.at
      .exec('timeout', '10', ...command)
      .catch((thrown: { stderr?: string }) => `failed: ${thrown.stderr ?? ''}`);
  };
  const own = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-nfs-`));
  t.teardown(() => rmSync(own, { recursive: true }));
  const sent = join(own, 'sent');
  writeFileSync(sent, Buffer.alloc(1_000_000, 'written through the dispatcher. '));
  for (const address of clients) {
    const member = memberOf(address);
    for (const [version, url] of Object.entries(urls)) {
      t.equal((await from(address, 'nfs-cat', url('name'))).trim(), member, version);
    }
    // By version 3: libnfs 4.0 cannot write to Ganesha by version 4, with no dispatcher between either.
    const file = urls['version 3'](`from-${address}`);
    t.match(await from(address, 'nfs-cp', sent, file), /copied 1000000 bytes/);
    const back = await from(address, 'nfs-cat', file);
    t.ok(back === readFileSync(sent, 'utf8'), `${address} reads what it wrote at ${member}`);
  }
  await dispatcher.ensure({ ...spec, hash: 'source-ip-port' });
  const apart: string[] = [];
  for (const address of clients) {
    apart.push(await from(address, 'nfs-cat', urls['version 3']('name')));
  }
  t.ok(
    apart.some((said) => said.startsWith('failed')),
    'by ports as well mount and file would be parted: what this test would see',
  );
});
