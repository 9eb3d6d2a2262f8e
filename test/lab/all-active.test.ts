import { test } from 'tap';
import type { Status } from '../../src/control/status.js';
import { must, type Stage } from '../../src/demo/stage.js';
import { askFrom, Crowd } from './crowd.js';
import { openLab, untilListening } from './harness.js';

const server = new URL('./echo-server.js', import.meta.url).pathname;
const shared = '192.0.2.1';
const hops = ['10.10.0.2', '10.10.0.3'];

/** The client is the router upstream: it has a route over both dispatchers (ip-route(8), nexthop). */
const file = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}, {name: h4}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
${[1, 2]
  .map(
    (number) => `  - name: web${number}
    networks: [{network: blue, address: 10.10.0.1${number}/24}]
    workload: {command: ["${process.execPath}", "${server}", web${number}]}
`,
  )
  .join('')}
services:
  - name: web
    network: blue
    address: ${shared}
    dispatchers: [${hops.join(', ')}]
    ports: [{protocol: tcp, port: 80}]
    members: [web1, web2]
    health: {tcp: 80}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

const ports = Array.from({ length: 60 }, (_, at) => 20_000 + at);
const route = (stage: Stage, ...to: readonly string[]) =>
  must(stage, 'c1', [
    ...['ip', 'route', 'replace', `${shared}/32`],
    ...to.flatMap((hop) => ['nexthop', 'via', hop, 'dev', 'eth0']),
  ]);
const received = ({ services }: Status) => services.map(({ traffic }) => traffic?.received ?? 0);

test('two dispatchers at once behind ECMP: one mapping, and connections outlive either’s host', async (t) => {
  const { stage } = await openLab(t, 'active', {}, file);
  await untilListening(stage, 'c1', ['10.10.0.11', '10.10.0.12']);
  const status = await stage.status();
  t.match(
    status.services.map(({ name, addresses, nextHops }) => [name, addresses, nextHops]),
    hops.map((hop, at) => [`web-${at + 1}`, [shared], [hop]]),
  );
  const hosts = status.services.map(({ dispatcher }) => dispatcher);
  t.equal(new Set(hosts).size, 2, 'each on a host of its own');

  const answers: ReadonlyMap<number, string>[] = [];
  for (const hop of hops) {
    await route(stage, hop);
    answers.push(await askFrom(stage, shared, ports));
  }
  t.same(answers[0], answers[1], 'a client gets the same member from each');
  t.same([...new Set(answers[0]?.values())].sort(), ['web1', 'web2']);
  const named = await Promise.all(
    ports.map(async (port) => (await stage.which('web', `10.10.0.200:${port}`)).member),
  );
  t.same(
    named,
    ports.map((port) => answers[0]?.get(port)),
    '`which` names it',
  );

  // By addresses and ports, as routers do it.
  await must(stage, 'c1', ['sysctl', '-qw', 'net.ipv4.fib_multipath_hash_policy=1']);
  await route(stage, ...hops);
  const crowd = new Crowd(t, stage, shared, 30_000, 60);
  await crowd.heard();
  const before = received(await stage.status());
  await stage.until(
    'both dispatchers have counted some of it',
    (now) => received(now).every((packets, at) => packets > (before[at] ?? 0)),
    30_000,
  );
  const victim = hosts[0] ?? '';
  await stage.lab.kill(victim);
  await stage.until(
    'its next hop is somebody else’s',
    ({ services }) =>
      services.every(({ phase, dispatcher }) => phase === 'running' && dispatcher !== victim),
    20_000,
  );
  await crowd.heard();
  const alive = (await stage.status()).personalities.filter(({ epoch }) => epoch === 1);
  const lost = [...crowd.broken.keys()].filter((port) =>
    alive.some(({ name }) => name === crowd.at.get(port)),
  );
  t.same([lost, crowd.moved], [[], []], 'none broke but those of a member that died with it');
  const again = await askFrom(stage, shared, ports);
  t.same(again, answers[0], 'and all is mapped as before');
});
