import { createInterface } from 'node:readline';
import { test } from 'tap';
import { must, type Stage } from '../../src/demo/stage.js';
import { openLab, untilListening } from './harness.js';

const server = new URL('./echo-server.js', import.meta.url).pathname;
const clients = new URL('./echo-clients.js', import.meta.url).pathname;
const asker = new URL('../../src/demo/http-ports.js', import.meta.url).pathname;

/** Three members-to-be, of which two stand behind one address; one host is left for its dispatcher. */
const file = (workload: (name: string) => string) => `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}, {name: h4}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
${['web1', 'web2', 'other']
  .map(
    (name, index) => `  - name: ${name}
    networks: [{network: blue, address: 10.10.0.1${index + 1}/24}]
    workload: {command: ${workload(name)}}
`,
  )
  .join('')}
services:
  - name: web
    network: blue
    address: 10.10.0.100
    ports: [{protocol: tcp, port: 80}]
    members: [web1, {personality: web2, weight: 3}]
    hash: source-ip-port
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

const requests = 1_000;
const firstPort = 20_000;

async function ask(stage: Stage): Promise<ReadonlyMap<number, string>> {
  const argv = [process.execPath, asker, '10.10.0.100', String(firstPort), String(requests)];
  const output = await must(stage, 'c1', argv);
  const answers = output
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  return new Map(answers.map(([port, body = '']) => [Number(port), body]));
}

/** Kills the host that dispatches and waits until another does. */
async function killDispatcher(stage: Stage): Promise<void> {
  const dispatcher = (await stage.status()).services[0]?.dispatcher ?? '';
  await stage.lab.kill(dispatcher);
  await stage.until(
    'another host dispatches',
    ({ services }) => services[0]?.phase === 'running' && services[0].dispatcher !== dispatcher,
    20_000,
  );
}

test('a thousand sources: all answered, shared by weight, the same again, also after the dispatcher died', async (t) => {
  const http = (name: string) =>
    `[sh, -c, "mkdir -p /tmp/${name} && echo ${name} > /tmp/${name}/name && exec busybox httpd -f -p 80 -h /tmp/${name}"]`;
  const { stage } = await openLab(t, 'spread', {}, file(http));
  await untilListening(stage, 'c1', ['10.10.0.11', '10.10.0.12']);
  const answers = await ask(stage);
  const shares = ['web1', 'web2'].map(
    (name) => [...answers.values()].filter((one) => one === name).length,
  );
  t.equal(answers.size, requests);
  t.equal((shares[0] ?? 0) + (shares[1] ?? 0), requests, 'each was answered by a member');
  for (const [index, weight] of [1, 3].entries()) {
    const wanted = (requests * weight) / 4;
    const share = shares[index] ?? 0;
    t.ok(Math.abs(share / wanted - 1) <= 0.15, `weight ${weight} of 4: ${share} of ${requests}`);
  }
  const moved = (other: ReadonlyMap<number, string>) =>
    [...answers].filter(([port, name]) => other.get(port) !== name).length;
  t.equal(moved(await ask(stage)), 0, 'asked again, nobody is at another member');
  const named: string[] = [];
  for (const [port, name] of answers) {
    const { member } = await stage.which('web', `10.10.0.200:${port}`);
    if (member !== name) named.push(`${port}: ${member}, not ${name}`);
  }
  t.strictSame(named, [], '`which` names the member that answered, for each of them');
  await killDispatcher(stage);
  t.equal(moved(await ask(stage)), 0, 'nor after the dispatcher’s host was killed');
});

test('connections that are open when the dispatcher dies go on at their member', async (t) => {
  const echo = (name: string) => `["${process.execPath}", "${server}", ${name}]`;
  const { stage } = await openLab(t, 'open', {}, file(echo));
  await untilListening(stage, 'c1', ['10.10.0.11', '10.10.0.12']);
  const open = 40;
  const child = stage.lab.spawn('c1', [
    process.execPath,
    clients,
    '10.10.0.100',
    String(firstPort),
    String(open),
  ]);
  t.teardown(() => child.kill('SIGKILL'));
  const first = new Map<number, string>();
  const trouble: string[] = [];
  const alive = new Map<number, number>();
  let look: () => void = () => undefined;
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      look = () => {
        // Clients whose connections broke say nothing more: then the rest of the test tells it.
        if (trouble.length > 0 || condition()) resolve();
      };
      look();
    });
  if (child.stdout === null) throw new Error('the clients have no output');
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [port = '', what = '', detail] = line.split(' ');
    if (what === 'alive') alive.set(Number(port), Number(detail));
    else if (what === 'moved' || what === 'broken') trouble.push(line);
    else first.set(Number(port), what);
    look();
  });
  await until(() => first.size === open);
  await killDispatcher(stage);
  const sinceMs = Date.now();
  await until(() => [...alive.values()].filter((atMs) => atMs > sinceMs).length === open);
  t.strictSame(trouble, [], 'none broke, none moved');
  t.equal(new Set(first.values()).size, 2, 'both members have some');
});
