import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import type { Status } from '../../src/control/status.js';
import { must } from '../../src/demo/stage.js';
import { openLab } from './harness.js';

const file = (script: string) => `
cluster: CLUSTER
controllers: [h1]
fencing: {enforce: true}
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
  - {name: web1, networks: [{network: blue, address: 10.10.0.11/24}]}
  - {name: web2, networks: [{network: blue, address: 10.10.0.12/24}]}
services:
  - name: web
    network: blue
    address: 10.10.0.100
    ports: [{protocol: tcp, port: 80}]
    members: [web1, web2]
    health: {script: [${script}], every: 5s}
lab: {clients: [{name: c1, network: blue, address: 10.10.0.200/24}]}
`;

/** Fails for a member whose file has a line; whether the member's own address is in its namespace it asks, too. */
const script = `#!/bin/sh
read -r why < "$(dirname "$0")/$UNDERSTUDY_PERSONALITY" && { echo "$why"; exit 3; }
ip -o addr | grep -q "$UNDERSTUDY_MEMBER_ADDRESS/" || { echo "not in its namespace"; exit 4; }
`;

test('a member whose script fails is out, with the script’s words, and is back when it succeeds', async (t) => {
  const folder = mkdtempSync('/tmp/understudy-health-');
  t.teardown(() => rmSync(folder, { recursive: true }));
  chmodSync(folder, 0o755);
  const path = join(folder, 'check');
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  // There before the hosts are, and never removed: their root is an overlay, which remembers what it saw.
  for (const name of ['web1', 'web2']) writeFileSync(join(folder, name), '');
  const { stage } = await openLab(t, 'script', {}, file(path));
  const sees = async (what: string, health: 'up' | 'down', reason: string) => {
    const status = await stage.until(
      what,
      ({ services }) =>
        services[0]?.members.some((one) => one.personality === 'web1' && one.health === health) ??
        false,
      60_000,
    );
    t.match(
      status.services[0]?.members.find(({ personality }) => personality === 'web1'),
      { health, reason },
    );
    t.match(
      status.services[0]?.members.find(({ personality }) => personality === 'web2'),
      { health: 'up' },
    );
  };
  writeFileSync(join(folder, 'web1'), 'the disk is full\n');
  await sees('web1 is down', 'down', 'script: exit code 3: the disk is full');
  t.equal((await stage.which('web', '10.10.0.200:4000')).member, 'web2');
  writeFileSync(join(folder, 'web1'), '');
  await sees('web1 is up again', 'up', '');
  // Nobody listens: each is refused by the member that it came to.
  const connect = 'for i in 1 2 3 4; do busybox nc -w 2 10.10.0.100 80 < /dev/null; done; true';
  await must(stage, 'c1', ['sh', '-c', connect]);
  await must(stage, 'c1', ['ping', '-c', '3', '-i', '0.2', '10.10.0.100']);
  const flows = ({ services }: Status) =>
    services[0]?.members.reduce((sum, { traffic }) => sum + (traffic?.newFlows ?? 0), 0) ?? 0;
  const { services } = await stage.until(
    'the dispatcher’s counters are told',
    (status) => (status.services[0]?.traffic?.passed ?? 0) >= 3 && flows(status) >= 4,
    60_000,
  );
  const packets = services[0]?.members.map(({ traffic }) => traffic?.packets ?? 0) ?? [];
  t.ok(packets.reduce((sum, one) => sum + one) >= 4, `${packets} packets to the members`);
});
