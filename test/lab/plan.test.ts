import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import type { Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import type { Operation, Plan } from '../../src/plan/types.js';
import { EtcdStore } from '../../src/store/etcd.js';
import { understudy } from '../cli/run.js';
import { openLab } from './harness.js';
import { type Kernel, KernelWatch, lookAt } from './kernel-watch.js';

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

const seenByKernel = ({ kind }: Operation) => kind === 'netlink' || kind === 'namespace';

/** What the kernel should have after these operations of a plan. */
function predict(before: Kernel, operations: readonly Operation[]): Kernel {
  const after = new Map(before);
  for (const { action, object, state } of operations.filter(seenByKernel)) {
    if (action === 'remove') {
      const prefix = object.includes('/link eth')
        ? new RegExp(
            `^${object.replace('/link ', '/(?:link |)')}\\b|^${object.split('/')[0]}/route `,
          )
        : new RegExp(`^${object.split('/')[0]}/|^${object}$`);
      const alone = !object.includes('/link') && object.includes('/');
      for (const key of [...after.keys()]) {
        if (alone ? key === object : prefix.test(key)) after.delete(key);
      }
      continue;
    }
    const mac = state.mac === undefined ? '' : ` ${state.mac}`;
    after.set(object, state.mtu === undefined ? `${state.via ?? ''}` : `${state.mtu}${mac}`);
  }
  return after;
}

const text = (kernel: Kernel) => [...kernel].map((entry) => entry.join(' = ')).sort();

/** Initiators that each target lets in, and those that have a session. */
async function initiators(lab: Lab): Promise<{ bound: string[]; sessions: string[] }> {
  const argv = ['tgtadm', '-C', '1', '--lld', 'iscsi', '--op', 'show', '--mode', 'target'];
  const socket = `TGT_IPC_SOCKET=/run/understudy-lab/${lab.name}/tgt/socket`;
  const { stdout } = await lab.exec(lab.command('storage', ['env', socket, ...argv]));
  const sessions = [...stdout.matchAll(/Initiator: (\S+)/g)].map(([, name = '']) => name);
  const bound = [...stdout.matchAll(/^ {8}(iqn\.2026-11\.io\.understudy\S+)$/gm)];
  return { bound: bound.map(([, name = '']) => name).sort(), sessions: sessions.sort() };
}

async function json<T>(lab: Lab, wanted: number, ...argv: readonly string[]): Promise<T> {
  const ran = await understudy([...argv, '--lab', lab.name, '--json']);
  if (ran.code !== wanted) throw new Error(`${argv.join(' ')}: ${ran.code} ${ran.stderr}`);
  return JSON.parse(ran.stdout) as T;
}

/** Keys that anybody wrote or deleted, except what agents tell all the time. */
async function keys(store: EtcdStore): Promise<ReadonlyMap<string, number>> {
  const { entries } = await store.list('');
  return new Map(
    entries
      .filter(({ key }) => !/^(report|events|steps|audit)\/|^election|^office/.test(key))
      .map(({ key, modRevision }) => [key, modRevision]),
  );
}

function touched(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>) {
  const all = new Set([...before.keys(), ...after.keys()]);
  return [...all].filter((key) => before.get(key) !== after.get(key)).sort();
}

const hosts = ['h1', 'h2', 'h3', 'h4'];

async function look(lab: Lab): Promise<ReadonlyMap<string, Kernel>> {
  const kernels = await Promise.all(
    hosts.map(async (host) => [host, await lookAt(lab, host)] as const),
  );
  return new Map(kernels);
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
  let file = base.replace('CLUSTER', 'plan');
  writeFileSync(path, file);
  const same = await json<Plan>(lab, 0, 'plan', path);
  t.match(same, { changes: false, operations: [] }, 'the file that the lab stands on: nothing');
  for (const [name, change] of changes) {
    const next = change(file);
    t.not(next, file, 'the file did change');
    file = next;
    writeFileSync(path, file);
    await t.test(name, (t) => oneChange(t, { lab, stage, store, watch, path }));
  }
});

interface Place {
  readonly lab: Lab;
  readonly stage: Stage;
  readonly store: EtcdStore;
  readonly watch: KernelWatch;
  readonly path: string;
}

async function oneChange(t: Test, { lab, store, watch, path }: Place): Promise<void> {
  const before = await look(lab);
  for (const [host, kernel] of before) watch.follow(host, kernel);
  const keysBefore = await keys(store);
  const plan = await json<Plan>(lab, 3, 'plan', path);
  t.same(plan.warnings, [], 'no warning');
  watch.take();
  await json(lab, 0, 'apply', path, '--wait');
  const wanted = new Map(
    hosts.map((host) => [
      host,
      text(
        predict(
          before.get(host) ?? new Map(),
          plan.operations.filter(({ at }) => at === host),
        ),
      ),
    ]),
  );
  const endMs = Date.now() + 15_000;
  let after = await look(lab);
  const settled = () =>
    hosts.every((host) => same(text(after.get(host) ?? new Map()), wanted.get(host)));
  while (!settled() && Date.now() < endMs) after = await look(lab);
  for (const host of hosts)
    t.same(text(after.get(host) ?? new Map()), wanted.get(host), `kernel of ${host}`);
  await checkStore(t, store, keysBefore, plan);
  await checkTarget(t, lab, plan);
  const explained = (host: string, object: string) =>
    plan.operations.some(
      (one) => one.at === host && seenByKernel(one) && covers(one.object, object),
    );
  const unexplained = watch.take().filter(({ host, object }) => !explained(host, object));
  t.same(unexplained, [], 'nothing else happened, not even for a moment');
  t.comment(`${plan.operations.length} operations`);
}

/** An operation about a NIC or a namespace explains what happens to what is on it. */
function covers(planned: string, seen: string): boolean {
  const [namespace = '', rest = ''] = planned.split('/');
  if (planned === seen || (rest === '' && seen.startsWith(`${namespace}/`))) return true;
  const device = /^link (\S+)$/.exec(rest)?.[1];
  return (
    device !== undefined &&
    (seen.startsWith(`${namespace}/${device} `) || seen.startsWith(`${namespace}/route`))
  );
}

async function checkStore(
  t: Test,
  store: EtcdStore,
  before: ReadonlyMap<string, number>,
  plan: Plan,
): Promise<void> {
  const planned = plan.operations.filter(({ at }) => at === 'store').map(({ object }) => object);
  const wanted = [...new Set(planned)].sort();
  const endMs = Date.now() + 10_000;
  let seen = touched(before, await keys(store));
  while (!same(seen, wanted) && Date.now() < endMs) seen = touched(before, await keys(store));
  t.same(seen, wanted, 'keys of the store');
}

async function checkTarget(t: Test, lab: Lab, plan: Plan): Promise<void> {
  const seen = await initiators(lab);
  const { personalities } = await json<{
    personalities: { name: string; host: string; epoch: number }[];
  }>(lab, 0, 'status');
  for (const { at, object, action, text } of plan.operations) {
    const initiator = /\b(iqn\.2026-11\.io\.understudy\S+)/.exec(text)?.[1];
    if (initiator === undefined || !/session$|^mask /.test(object)) continue;
    const there = action !== 'remove';
    t.equal(seen.bound.includes(initiator), there, `${at}: ${initiator} is let in: ${there}`);
    t.equal(
      seen.sessions.includes(initiator),
      there,
      `${at}: ${initiator} has a session: ${there}`,
    );
  }
  const owners = personalities.filter(({ name }) => name !== 'web2');
  t.same(
    seen.bound,
    owners
      .map(({ name, host, epoch }) => `iqn.2026-11.io.understudy:plan.${name}.${host}.e${epoch}`)
      .sort(),
    'nobody else is let in',
  );
}

function same(a: readonly string[], b: readonly string[] | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
