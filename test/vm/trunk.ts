import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { macOf, must, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { switchNode } from '../../src/lab/plan.js';
import { Capture } from '../../src/observe/observers.js';

export const target = 'iqn.2026-11.example.lab:web';
/** Of personality `web-1`, which client c1 asks. */
export const address = '10.10.0.11';
/** What heartbeats cost an emulated processor, and how long one waits for a core: docs/vm-lab.md has the figures. */
export const heartbeatMs = 3_000;
export const leaseMs = 24_000;
/** What a takeover takes beyond the lease: a fraction of a second on a real processor. */
const takeoverMs = 36_000;
/** A lease that was extended just before, and a takeover. */
export const mostGapMs = heartbeatMs + leaseMs + takeoverMs;
/** Until a client is answered or another host has it, however long that took in the test's own eyes. */
export const patienceMs = 2 * mostGapMs;
/** Until the new owner has written down what it did: how patient it is with etcd goes by the lease. */
export const stepsMs = leaseMs;
/** An emulated processor that answers every 2 ms does little else. */
export const pingEveryMs = 200;

/** A lab whose hosts are virtual machines on a trunk with two VLANs. */
export const trunk = (hosts: readonly string[], controllers = hosts) => `
cluster: CLUSTER
controllers: [${controllers.join(', ')}]
timing: {heartbeat: ${heartbeatMs}ms, lease: ${leaseMs}ms}
hosts: [${hosts.map((name) => `{name: ${name}}`).join(', ')}]
networks:
  - {name: blue, fabric: vlan, id: 100, subnet: 10.10.0.0/24}
  - {name: green, fabric: vlan, id: 200, subnet: 10.20.0.0/24}
volumes:
  - {name: web-data, target: "${target}", lun: 1, format: if-blank}
personalities:
  - name: web-1
    networks: [{network: blue, address: ${address}/24}]
    storage: [{lun: 0, volume: web-data, mount: /srv/shop}]
    workload: {command: [busybox, httpd, -f, -p, "80", -h, /srv/shop]}
  - name: other
    networks: [{network: green, address: 10.20.0.11/24}]
lab:
  backend: vm
  clients:
    - {name: c1, network: blue, address: 10.10.0.200/24}
    - {name: c2, network: green, address: 10.20.0.200/24}
  storage: [{target: "${target}", luns: [{lun: 1, size: 64MiB}]}]
`;

/** Each host runs Debian's kernel and the package's units; the one that has `web-1` has its VLAN device. */
export async function debianHosts(t: Test, stage: Stage, lab: Lab, owner: string): Promise<void> {
  const release = (await must(stage, owner, ['uname', '-r'])).trim();
  t.match(release, /-amd64$/, 'Debian’s kernel');
  t.not(release, readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(), 'not this machine’s');
  for (const { name } of lab.plan.hosts) {
    const units = ['systemctl', 'is-active', 'understudy-agent', 'understudy-pulse'];
    t.equal(await must(stage, name, units), 'active\nactive\n', `${name} runs the units`);
  }
  const carrier = ['ip', '-d', '-n', 'usn-blue', 'link', 'show', 'type', 'vlan'];
  t.match(await must(stage, owner, carrier), /protocol 802\.1Q id 100 /, 'a VLAN device');
}

/** Every frame of a personality has its network's tag on the trunk, and the other network never hears it. */
export async function isolation(t: Test, stage: Stage, lab: Lab): Promise<void> {
  const status = await stage.status();
  const macs = { blue: macOf(status, 'web-1'), green: macOf(status, 'other') };
  const captures = new Map<string, Capture>();
  const observe = (what: string, node: string, device: string, mac: string) =>
    captures.set(what, new Capture(stage.lab, node, device, `ether host ${mac}`));
  for (const [network, mac] of Object.entries(macs)) {
    // Every port of the trunk that a host is behind: who has which is the cluster's to say.
    for (const { name, ports } of lab.plan.hosts) {
      observe(`${network} at ${name}`, switchNode, ports.eth1, mac);
    }
  }
  observe('blue at c2', 'c2', 'eth0', macs.blue);
  observe('green at c1', 'c1', 'eth0', macs.green);
  t.teardown(() => Promise.all([...captures.values()].map((capture) => capture.stop())));
  await Promise.all([...captures.values()].map(({ ready }) => ready));
  const pings = async (client: string, to: string) => {
    const argv = ['ping', '-n', '-c', '3', '-i', '0.2', '-W', '5', to];
    return (await stage.lab.exec(client, argv)).code === 0;
  };
  t.ok(await pings('c1', address), 'a client of blue reaches blue');
  t.ok(await pings('c2', '10.20.0.11'), 'one of green reaches green');
  await must(stage, 'c2', ['ip', 'address', 'add', '10.10.0.99/24', 'dev', 'eth0']);
  t.notOk(await pings('c2', address), 'with an address of blue it reaches nobody there');
  for (const [network, id] of [
    ['blue', 100],
    ['green', 200],
  ] as const) {
    const frames = lab.plan.hosts.flatMap(
      ({ name }) => captures.get(`${network} at ${name}`)?.frames ?? [],
    );
    const ids = new Set(frames.map(({ seen }) => seen.vlan));
    t.same([...ids], [id], `${frames.length} frames of ${network} on the trunk have tag ${id}`);
  }
  t.equal(captures.get('blue at c2')?.frames.length, 0, 'green hears nothing of blue');
  t.equal(captures.get('green at c1')?.frames.length, 0, 'nor blue of green');
}
