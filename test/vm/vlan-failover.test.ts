import { readFileSync } from 'node:fs';
import tap, { type Test, test } from 'tap';
import { macOf, must, personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import { switchNode } from '../../src/lab/plan.js';
import { Capture, PingWatch } from '../../src/observe/observers.js';
import { openLab } from '../lab/harness.js';

/**
 * Hosts are virtual machines without hardware help: docs/vm-lab.md has the figures that this lease, twenty
 * times the default, comes from.
 */
const trunk = `
cluster: CLUSTER
controllers: [h1, h2, h3]
timing: {heartbeat: 500ms, lease: 4s}
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks:
  - {name: blue, fabric: vlan, id: 100, subnet: 10.10.0.0/24}
  - {name: green, fabric: vlan, id: 200, subnet: 10.20.0.0/24}
volumes:
  - {name: web-data, target: "iqn.2026-11.example.lab:web", lun: 1, format: if-blank}
personalities:
  - name: web
    networks: [{network: blue, address: 10.10.0.11/24}]
    storage: [{lun: 0, volume: web-data, mount: /srv/www}]
    workload: {command: [busybox, httpd, -f, -p, "80", -h, /srv/www]}
  - name: other
    networks: [{network: green, address: 10.20.0.11/24}]
lab:
  backend: vm
  clients:
    - {name: c1, network: blue, address: 10.10.0.200/24}
    - {name: c2, network: green, address: 10.20.0.200/24}
  storage: [{target: "iqn.2026-11.example.lab:web", luns: [{lun: 1, size: 64MiB}]}]
`;
const address = '10.10.0.11';
/** A lease, and a takeover that takes a fraction of a second on a real processor. */
const mostGapMs = 30_000;
const patienceMs = 60_000;
tap.setTimeout(900_000);

test('a power cut on Debian’s own kernel, with 802.1Q and a LUN', async (t) => {
  const startedMs = Date.now();
  const { stage, lab } = await openLab(t, 'vlan', {}, trunk);
  t.comment(`up after ${Math.round((Date.now() - startedMs) / 1_000)} s`);
  const before = await stage.status();
  const { host, epoch } = personality(before, 'web');
  if (host === null) throw new Error('web has no host');
  await t.test('the hosts are Debian, and the package’s units', (t) =>
    debianHosts(t, stage, lab, host),
  );
  await t.test('frames are tagged, and each VLAN keeps to itself', (t) => isolation(t, stage, lab));

  const written = `echo survives > /srv/www/text && sync /srv/www/text`;
  await must(stage, 'web', ['sh', '-c', written]);
  const judge = judgeOf(lab, stage.config);
  t.teardown(() => judge.stop());
  const ping = new PingWatch(stage.lab, 'c1', address);
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), patienceMs);
  const cutMs = Date.now();
  await lab.kill(host);
  await ping.answerAfter(Date.now(), patienceMs);
  const record = await stage.failover('web', epoch + 1, patienceMs);
  t.equal(record.outcome, 'ok', `${host} → ${record.to}: ${record.reason}`);
  t.not(record.to, host);
  t.equal(await must(stage, 'web', ['cat', '/srv/www/text']), 'survives\n', 'what was synced');
  const page = ['curl', '-s', '-m', '20', `http://${address}/text`];
  t.equal(await must(stage, 'c1', page), 'survives\n', 'and the client reads it');
  t.equal(macOf(await stage.status(), 'web'), macOf(before, 'web'), 'by the same MAC');
  const gapMs = ping.longestGapMs(cutMs) ?? Number.NaN;
  t.ok(gapMs < mostGapMs, `gap ${Math.round(gapMs)} ms`);
  for (const { name, startMs, endMs } of record.steps) t.comment(`${name} ${startMs}-${endMs} ms`);
  const verdict = judge.verdict();
  t.ok(verdict.ok && verdict.frames > 0, `no vMAC from two ports in ${verdict.frames} frames`);
  t.comment(`all in ${Math.round((Date.now() - startedMs) / 1_000)} s`);
});

async function debianHosts(t: Test, stage: Stage, lab: Lab, host: string): Promise<void> {
  const release = (await must(stage, host, ['uname', '-r'])).trim();
  t.match(release, /-amd64$/, 'Debian’s kernel');
  t.not(release, readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(), 'not this machine’s');
  for (const { name } of lab.plan.hosts) {
    const units = ['systemctl', 'is-active', 'understudy-agent', 'understudy-pulse'];
    t.equal(await must(stage, name, units), 'active\nactive\n', `${name} runs the units`);
  }
  const carrier = ['ip', '-d', '-n', 'usn-blue', 'link', 'show', 'type', 'vlan'];
  t.match(await must(stage, host, carrier), /protocol 802\.1Q id 100 /, 'a VLAN device');
}

async function isolation(t: Test, stage: Stage, lab: Lab): Promise<void> {
  const status = await stage.status();
  const macs = { blue: macOf(status, 'web'), green: macOf(status, 'other') };
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
