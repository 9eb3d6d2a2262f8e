import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { Lab } from '../../src/lab/lab.js';
import { collect, type Ran } from '../../src/lab/shell.js';
import { readState } from '../../src/lab/state.js';
import { labName, leftovers, processesOf } from './nodes.js';

const program = new URL('../../../bin/understudy', import.meta.url).pathname;

const file = `
cluster: commands
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}, {name: h4}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
volumes:
  - {name: data, target: "iqn.2026-11.example.lab:data", lun: 1, format: if-blank}
personalities:
  - name: web1
    networks: [{network: blue, address: 10.10.0.11/24}]
    storage: [{lun: 0, volume: data, mount: /srv/data}]
    workload: {command: [sleep, infinity]}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
  storage: [{target: "iqn.2026-11.example.lab:data", luns: [{lun: 1, size: 32MiB}]}]
`;

const scenario = `
scenario: web1 moves when its host loses power
steps:
  - exec: {node: c1, command: [ping, -n, -c, 1, -W, 1, 10.10.0.11], expect: {stdout: 1 received}}
  - exec: {node: web1, command: [sh, -c, echo kept > /srv/data/kept && sync /srv/data/kept]}
  - kill: HOST
  - wait: {for: {personalities.web1.epoch: {atLeast: 2}, personalities.web1.phase: running}, within: 20s}
  - exec: {node: web1, command: [cat, /srv/data/kept], expect: {stdout: ^kept$}}
  - exec: {node: c1, command: [ping, -n, -c, 1, -W, 2, 10.10.0.11]}
  - start: HOST
  - wait: {for: {hosts.HOST.state: up}, within: 30s}
`;

/** Faults of daemons, of etcd and of who is in office, each with its end. */
const commands: readonly (readonly string[])[] = [
  ['partition', 'leader', '--storage', '--in'],
  ['heal', 'leader'],
  ['signal', 'h4', 'agent', 'CONT'],
  ['restart', 'storage', 'target'],
  ['kill', 'etcd3'],
  ['start', 'etcd3'],
  ['compact'],
  ['load', '0'],
];
const refused: readonly (readonly [readonly string[], string])[] = [
  [['restart', 'etcd1', 'etcd'], 'US_LAB_PROCESS'],
  [['kill', 'storage'], 'US_LAB_POWER'],
];

test('a lab by its commands: up, exec, faults, a scenario, down', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-test-'));
  const name = labName();
  const run = (...argv: readonly string[]): Promise<Ran> =>
    collect(
      spawn(process.execPath, [program, ...argv], {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, US_LAB: name },
      }),
      'from outside',
    );
  t.teardown(async () => {
    const state = readState(name);
    if (state !== undefined) await Lab.attach(state).down();
    rmSync(folder, { recursive: true });
  });
  writeFileSync(join(folder, 'lab.yaml'), file);
  const up = await run('lab', 'up', join(folder, 'lab.yaml'), '--json');
  t.equal(up.code, 0, up.stderr);
  t.match(JSON.parse(up.stdout), { lab: name, elapsedMs: Number });

  const again = await run('lab', 'up', join(folder, 'lab.yaml'));
  t.equal(again.code, 1);
  t.match(again.stderr, /^US_LAB_RUNNING/m);

  const status = await run('lab', 'status', '--json');
  const { nodes } = JSON.parse(status.stdout) as { nodes: { name: string; power: string }[] };
  t.ok(nodes.every(({ power }) => power === 'on'));

  const codes = await run('lab', 'exec', 'h4', '--', 'sh', '-c', 'cat; echo err >&2; exit 9');
  t.strictSame(codes, { code: 9, stdout: 'from outside', stderr: 'err\n' });
  const where = await run('lab', 'exec', 'web1', '--', 'sh', '-c', 'ip -4 -br addr; ls /srv');
  t.match(where.stdout, /10\.10\.0\.11\/24/, where.stderr);
  t.match(where.stdout, /^data$/m);
  const unknown = await run('lab', 'exec', 'nobody', '--', 'true');
  t.equal(unknown.code, 1);
  t.match(unknown.stderr, /US_LAB_NODE[\s\S]*web1/);

  const cluster = await run('status', '--json');
  const [web1] = (JSON.parse(cluster.stdout) as { personalities: { host: string }[] })
    .personalities;
  const host = web1?.host ?? '';
  for (const [fault, shown] of [
    ['pause', 'paused'],
    ['resume', 'on'],
    ['partition', 'on'],
    ['heal', 'on'],
  ] as const) {
    const done = await run('lab', fault, 'h4', '--json');
    t.equal(done.code, 0, `${fault} ${done.stderr}`);
    const now = await run('lab', 'status', '--json');
    const h4 = (JSON.parse(now.stdout) as { nodes: { name: string; power: string }[] }).nodes.find(
      (node) => node.name === 'h4',
    );
    t.equal(h4?.power, shown);
  }
  for (const argv of commands) {
    const done = await run('lab', ...argv, '--json');
    t.equal(done.code, 0, `${argv.join(' ')} ${done.stderr}`);
  }
  for (const [argv, code] of refused) {
    const ran = await run('lab', ...argv);
    t.match([ran.code, ran.stderr], [1, new RegExp(`^${code}`, 'm')], argv.join(' '));
  }
  const noSuch = await run('lab', 'kill', 'h9');
  t.match([noSuch.code, noSuch.stderr], [1, /US_LAB_NODE/]);

  writeFileSync(join(folder, 'cut.yaml'), scenario.replaceAll('HOST', host));
  const cut = await run('lab', 'run', join(folder, 'cut.yaml'), '--json');
  t.equal(cut.code, 0, cut.stderr);
  t.match(JSON.parse(cut.stdout), { ok: true });
  writeFileSync(
    join(folder, 'wrong.yaml'),
    '{scenario: x, steps: [{exec: {node: c1, command: ["false"]}}]}',
  );
  const wrong = await run('lab', 'run', join(folder, 'wrong.yaml'), '--json');
  t.equal(wrong.code, 1);
  t.match(JSON.parse(wrong.stdout), { ok: false, steps: [{ detail: /exit code 1/ }] });

  const state = readState(name);
  if (state === undefined) throw new Error('it is gone');
  const processes = processesOf(Lab.attach(state));
  const down = await run('lab', 'down');
  t.strictSame([down.code, down.stdout], [0, `lab ${name} is gone\n`]);
  t.strictSame(leftovers(name, processes), []);
  t.strictSame(
    readdirSync('/sys/block').filter((device) => /^loop1[789]\d\d$/.test(device)),
    [],
    'no loop device is left',
  );
});
