import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import type { ClusterConfig } from '../../src/config/types.js';
import { gatherPaths } from '../../src/doctor/gather-paths.js';
import { heardOf, listeningIn } from '../../src/doctor/listening.js';
import { clusterConfig } from '../control/world.js';
import { noLimit, service, stage, startNode, vip4, vip6 } from '../dispatch/stage.js';

test('the way of a service’s packets is looked at where it is, and what is broken is seen', async (t) => {
  const { dispatching, members, lease, newDispatcher, newNft, answer } = await stage(t);
  lease.raise(noLimit);
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-paths-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const places = { namespaces: join(folder, 'netns'), nftables: join(folder, 'nftables') };
  for (const one of Object.values(places)) mkdirSync(one);
  const [first] = members;
  if (first === undefined) throw new Error('there is one');
  symlinkSync(dispatching.path, join(places.namespaces, 'us-svc-web'));
  symlinkSync(first.path, join(places.namespaces, 'us-web1'));
  const config: ClusterConfig = {
    ...clusterConfig(),
    services: clusterConfig().services.map((one) => ({
      ...one,
      addresses: [vip4, vip6],
      ports: service().ports,
      members: [
        { personality: 'web1', weight: 1 },
        { personality: 'web2', weight: 1 },
      ],
    })),
  };
  const look = () => gatherPaths(config, places);
  const bpf = await newDispatcher();
  await bpf.ensure(service());
  t.match(look(), { dispatched: [{ missing: [vip4, vip6] }] }, 'its NIC is down yet');
  answer();
  const sound = {
    dispatched: [{ service: 'web', missing: [], guarded: true, by: 'bpf' }],
    members: [
      {
        ...{ service: 'web', personality: 'web1', missing: [], answersArp: false },
        ...{ heard: true, elsewhere: [] },
      },
    ],
    troubles: [],
  };
  t.same(look(), sound);
  t.equal(gatherPaths(undefined, places), undefined);

  await bpf.remove('web');
  t.match(look(), { dispatched: [{ by: undefined, guarded: true }] });
  await newNft().ensure(service({ dataPlane: 'nftables' }));
  writeFileSync(join(places.nftables, 'web'), '');
  t.match(look(), { dispatched: [{ by: 'nftables' }] });
  dispatching.tc('filter del dev eth0 egress');
  t.match(look(), { dispatched: [{ guarded: false }] });

  first.ip(`addr del ${vip4}/32 dev lo`);
  for (const device of ['all', 'eth0']) first.set(`net.ipv4.conf.${device}.arp_ignore`, 0);
  t.match(look(), { members: [{ missing: [vip4], answersArp: true }] });
  const own = '10.10.0.11';
  const server = `require('net').createServer().listen(81, '${own}', () => console.log('up'))`;
  const child = startNode(t, first, server);
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  const [only] = config.services;
  if (only === undefined) throw new Error('there is one');
  const onPort = (port: number, last = port): ClusterConfig => ({
    ...config,
    services: [{ ...only, ports: [{ protocol: 'tcp', first: port, last }] }],
  });
  t.match(gatherPaths(onPort(81), places)?.members, [
    {
      heard: false,
      elsewhere: [`tcp/81 on ${own}, not on ${vip4}`, `tcp/81 on ${own}, not on ${vip6}`],
    },
  ]);
  t.match(gatherPaths(onPort(82), places)?.members, [{ heard: false, elsewhere: [] }]);
  t.match(gatherPaths(onPort(82, 90), places)?.members, [{ heard: undefined }]);
});

test('who listens, from the kernel’s own tables', (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-listening-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const head = '  sl  local_address rem_address   st\n';
  writeFileSync(
    join(folder, 'tcp'),
    `${head}   0: 0B000A0A:0050 00000000:0000 0A\n   1: 0B000A0A:0051 0C000A0A:1234 01\n`,
  );
  writeFileSync(
    join(folder, 'tcp6'),
    `${head}   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A\n`,
  );
  writeFileSync(join(folder, 'udp'), `${head}   0: 00000000:0801 00000000:0000 07\n`);
  const found = listeningIn(folder);
  t.same(found, [
    { protocol: 'tcp', address: '10.10.0.11', port: 80 },
    { protocol: 'tcp', address: '::', port: 443 },
    { protocol: 'udp', address: '0.0.0.0', port: 2049 },
  ]);
  const asked = (protocol: 'tcp' | 'udp', address: string, port: number) =>
    heardOf(found, { protocol, address, port }).heard;
  t.ok(asked('tcp', '10.10.0.11', 80));
  t.notOk(asked('tcp', '10.10.0.100', 80));
  t.same(heardOf(found, { protocol: 'tcp', address: '10.10.0.100', port: 80 }).others, [
    '10.10.0.11',
  ]);
  t.ok(asked('tcp', '10.10.0.100', 443), 'a socket for every IPv6 address takes IPv4 too');
  t.ok(asked('tcp', 'fd00::1', 443));
  t.ok(asked('udp', '10.10.0.100', 2_049));
  t.notOk(asked('udp', 'fd00::1', 2_049));
  t.notOk(asked('tcp', '10.10.0.100', 2_049));
  t.end();
});
