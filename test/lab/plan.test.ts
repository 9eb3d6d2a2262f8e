import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import type { Plan } from '../../src/plan/types.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { openLab } from './harness.js';
import { KernelWatch } from './kernel-watch.js';
import { json, oneChange } from './plan-observer.js';

const base = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}, {name: h4}]
networks: [{name: blue, fabric: vxlan, id: 100, subnet: [10.10.0.0/24, "fd00:10::/64"]}]
volumes:
  - {name: data1, target: "iqn.2026-11.example.lab:one", lun: 1, format: if-blank}
personalities:
  - name: web1
    networks: [{network: blue, address: 10.10.0.11/24}]
    storage: [{lun: 0, volume: data1, mount: /srv/www}]
    workload: {command: [sleep, infinity]}
  - name: web2
    networks: [{network: blue, address: 10.10.0.12/24}]
    workload: {command: [sleep, infinity]}
services:
  - {name: web, network: blue, address: 10.10.0.100, ports: [{protocol: tcp, port: 80}], members: [web1, web2]}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
  storage:
    - {target: "iqn.2026-11.example.lab:one", luns: [{lun: 1, size: 64MiB}]}
    - {target: "iqn.2026-11.example.lab:two", luns: [{lun: 1, size: 64MiB}]}
`;

const web3 = `  - name: web3
    networks: [{network: blue, address: 10.10.0.13/24}]
    storage: [{lun: 0, volume: data2, mount: /srv/www}]
    workload: {command: [sleep, infinity]}
services:`;

/** Each is made on top of those before it. */
const changes: readonly (readonly [string, (file: string) => string])[] = [
  [
    'an IPv6 address, and a route',
    (file) =>
      file.replace(
        'address: 10.10.0.12/24}]',
        'address: [10.10.0.12/24, "fd00:10::12/64"]}]\n    routes: [{to: default, via: 10.10.0.1}]',
      ),
  ],
  ['another vMAC', (file) => file.replace('0.11/24}', '0.11/24, mac: "02:00:00:00:00:11"}')],
  [
    'a personality with a volume',
    (file) =>
      file
        .replace('services:', web3)
        .replace('personalities:', `  - ${volume('data2', 'two')}\npersonalities:`),
  ],
  ['a smaller MTU', (file) => file.replace('id: 100,', 'id: 100, mtu: 1400,')],
  [
    'a second network, and a NIC on it',
    (file) =>
      file
        .replace('id: 100,', 'id: 100, ')
        .replace(
          'networks: [{name: blue',
          'networks: [{name: green, fabric: vxlan, id: 200, subnet: 10.20.0.0/24}, {name: blue',
        )
        .replace(
          'network: blue, address: 10.10.0.13/24}',
          'network: blue, address: 10.10.0.13/24}, {network: green, address: 10.20.0.13/24}',
        ),
  ],
  [
    'other weights',
    (file) => file.replace('[web1, web2]', '[web1, {personality: web2, weight: 3}]'),
  ],
  [
    'the personality taken away again, its volume too',
    (file) =>
      file.replace(/ {2}- name: web3[\s\S]*?services:/, 'services:').replace(/.*data2.*\n/, ''),
  ],
];

function volume(name: string, target: string): string {
  return `{name: ${name}, target: "iqn.2026-11.example.lab:${target}", lun: 1, format: if-blank}`;
}

test('what plan says is what observers then see', async (t) => {
  const { stage, lab } = await openLab(t, 'plan', {}, base);
  const folder = mkdtempSync(join(tmpdir(), 'understudy-plan-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'cluster.yaml');
  const store = new EtcdStore({ endpoints: lab.endpoints, prefix: '/understudy/plan/' });
  await store.start(stage.signal);
  t.teardown(() => store.stop());
  const watch = new KernelWatch(lab);
  const hosts = ['h1', 'h2', 'h3', 'h4'];
  const withVolumes = () => ['web1', ...(file.includes('data2') ? ['web3'] : [])];
  let file = base.replace('CLUSTER', 'plan');
  writeFileSync(path, file);
  const same = await json<Plan>(lab, 0, 'plan', path);
  t.match(same, { changes: false, operations: [] }, 'the file that the lab stands on: nothing');
  for (const [name, change] of changes) {
    const next = change(file);
    t.not(next, file, 'the file did change');
    file = next;
    writeFileSync(path, file);
    await t.test(name, (t) => oneChange(t, { lab, stage, store, watch, path, hosts, withVolumes }));
  }
});
