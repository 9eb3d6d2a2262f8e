import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';
import { writeClusterFile } from '../../src/config/write.js';
import { root } from '../cli/run.js';

const files = [
  ...readdirSync(`${root}examples`).flatMap((name) =>
    name.endsWith('.yaml') ? [`examples/${name}`] : [],
  ),
  ...readdirSync(`${root}test/config/good`).map((name) => `test/config/good/${name}`),
];

const everything = `
cluster: all
controllers: [h1]
timing: {heartbeat: 20ms, lease: 1500ms, announceRefresh: 90s}
fencing: {enforce: true}
store: {endpoints: ["http://[fd00::1]:2379"]}
hosts:
  - {name: h1, address: "fd00::1", pool: none, joins: [blue], power: {agent: fence_ipmilan, options: {ip: 10.0.0.9, lanplus: true}, passwordFile: /etc/p, action: reboot, timeout: 30s}}
  - {name: h2, address: "fd00::2", interface: ens5, capacity: 3}
networks:
  - {name: blue, fabric: vxlan, id: 7, subnet: [10.1.0.0/16, "fd01::/64"], mtu: 1400, gateways: [10.0.0.3]}
  - {name: plain, fabric: untagged, subnet: 10.2.0.0/16}
volumes: [{name: v, portals: ["[fd02::1]:3260"], target: "iqn.2026-11.example:v", lun: 9, filesystem: xfs, access: read-only, chap: {user: u, secretFile: /etc/c, mutual: {user: m, secretFile: /etc/d}}}]
personalities:
  - name: p
    networks: [{network: blue, address: [10.1.0.1/16, "fd01::1/64"], mac: "02:00:00:00:00:01"}, {network: plain, address: 10.2.0.1/16}]
    routes: [{to: default, via: 10.1.0.254}, {to: 10.9.0.0/16, via: 10.1.0.253}]
    storage: [{lun: 3, volume: v, mount: /srv/a b}]
    workload: {command: [sh, -c, "echo 'a: b' # c"], moveAfterFailures: 3}
    priority: 0
services:
  - {name: s, network: blue, address: ["10.1.0.100", "fd01::100"], mac: "02:00:00:00:01:00", ports: [{protocol: udp, port: '53-54'}, {protocol: tcp, port: 80}], members: [{personality: p, weight: 0}], hash: 5-tuple, balance: none, drain: 1ms, udpSticky: 1m, health: {tcp: 80, every: 1s}}
  - {name: x, network: plain, address: 10.2.0.100, ports: [{protocol: tcp, port: 80}], members: [p], xdp: true, dataPlane: bpf, slowStart: 30s, health: {http: 80, path: /up}}
  - {name: y, network: plain, address: 10.2.0.101, ports: [{protocol: tcp, port: 80}], members: [p], health: {script: [/usr/lib/check, --quick, a b], user: check-it}}
  - {name: z, network: blue, address: [192.0.2.1, "2001:db8::1"], dispatchers: [[10.1.0.2, "fd01::2"], [10.1.0.3, "fd01::3"]], ports: [{protocol: tcp, port: 80}], members: [p]}
`;

test('what is written is read again as the same configuration', (t) => {
  for (const [name, text] of [
    ...files.map((file) => [file, readFileSync(`${root}${file}`, 'utf8')]),
    ['everything', everything],
  ]) {
    const parsed = parseClusterFile(text ?? '');
    if (!parsed.ok) throw new Error(`${name}: ${JSON.stringify(parsed.problems)}`);
    const isLab = parsed.lab !== undefined;
    const lab = isLab ? (text ?? '').slice((text ?? '').indexOf('\nlab:')) : '';
    const again = parseClusterFile(`${writeClusterFile(parsed.config)}${lab}`);
    t.equal(again.ok, true, `${name} ${again.ok ? '' : JSON.stringify(again.problems)}`);
    if (again.ok) t.strictSame(again.config, parsed.config, `${name}`);
  }
  t.end();
});
