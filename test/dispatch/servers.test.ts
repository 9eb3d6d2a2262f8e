import { once } from 'node:events';
import { createInterface } from 'node:readline';
import tap, { type Test, test } from 'tap';
import { chooser } from '../../src/dispatch/choose.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import { dnsmasq, iperf, nginx, passive, ports, vsftpd } from './daemons.js';
import { noLimit, service, stage, startNode, vip4, vip6 } from './stage.js';

tap.setTimeout(120_000);

const names = ['web1', 'web2', 'web3'] as const;
const tcp = (first: number, last = first) => ({ protocol: 'tcp' as const, first, last });
const udp = (first: number, last = first) => ({ protocol: 'udp' as const, first, last });
/** All of the service's weight at some of the members. */
const weights = (...list: readonly number[]): Pick<DispatchSpec, 'members'> => ({
  members: service().members.map((member, at) => ({ ...member, weight: list[at] ?? 0 })),
});

async function open(t: Test, spec: DispatchSpec) {
  const staged = await stage(t);
  staged.lease.raise(noLimit);
  const dispatcher = await staged.newDispatcher();
  await dispatcher.ensure(spec);
  staged.answer();
  return { ...staged, dispatcher };
}

/** In a client: connections that are kept, each asked again and again; then many short ones. */
const http = `
const http = require('http');
const [host, port, kept, rounds, short] = process.argv.slice(1).map((word, at) => at === 0 ? word : Number(word));
const ask = (agent, headers) => new Promise((resolve) => {
  const request = http.get({ host, port, agent, headers, timeout: 10000 }, (response) => {
    let body = '';
    response.on('data', (data) => { body += data; });
    response.on('end', () => resolve({ body, from: response.socket?.localPort ?? request.port, reused: request.reusedSocket }));
  });
  request.on('socket', (socket) => { if (socket.connecting) socket.once('connect', () => { request.port = socket.localPort; }); });
  request.on('timeout', () => request.destroy(new Error('timeout')));
  request.on('error', (error) => resolve({ body: error.message }));
});
const agents = Array.from({ length: kept }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
const at = new Map();
let moved = 0, anew = 0;
const wrong = [];
async function round() {
  await Promise.all(agents.map(async (agent) => {
    const { body, reused } = await ask(agent);
    if (!/^web\\d$/.test(body)) wrong.push(body);
    if (at.has(agent) && !reused) anew += 1;
    if (at.has(agent) && at.get(agent) !== body) moved += 1;
    at.set(agent, body);
  }));
}
async function all() {
  for (let count = 0; count < rounds; count += 1) await round();
  const answers = [];
  for (let count = 0; count < short; count += 100) {
    answers.push(...await Promise.all(Array.from({ length: 100 }, () => ask(false))));
  }
  console.log(JSON.stringify({ moved, anew, wrong, kept: [...at.values()], short: answers.map(({ body, from }) => [from, body]) }));
}
require('readline').createInterface({ input: process.stdin }).on('line', all);
`;

/** Short connections after each change. */
const newOnes = 400;

interface HttpSaid {
  readonly moved: number;
  readonly anew: number;
  readonly wrong: readonly string[];
  readonly kept: readonly string[];
  readonly short: readonly (readonly [number, string])[];
}

test('nginx: connections that are kept stay over a drain and its end, thousands of short ones go where they must', async (t) => {
  const spec = service({ ports: [tcp(ports.http)], hash: 'source-ip-port' });
  const { far, members, dispatcher } = await open(t, spec);
  await Promise.all(members.map((member, at) => nginx(t, member, names[at] ?? '')));
  for (const address of [vip4, vip6]) {
    await dispatcher.ensure(spec);
    const words = [address, ports.http, 100, 5, newOnes].map(String);
    const client = startNode(t, far.at, http, ...words);
    if (client.stdout === null) throw new Error('no output');
    const lines = createInterface({ input: client.stdout });
    const say = async (list: Pick<DispatchSpec, 'members'>) => {
      await dispatcher.ensure({ ...spec, ...list });
      const answer = once(lines, 'line');
      client.stdin?.write('go\n');
      const [line] = (await answer) as [string];
      const said = JSON.parse(line) as HttpSaid;
      t.same([said.moved, said.anew, said.wrong], [0, 0, []], 'no kept connection ended or moved');
      const chosen = chooser({ ...spec, ...list });
      const from = address === vip4 ? far.address4 : far.address6;
      const wrong = said.short.filter(([port, name]) => {
        const flow = { address: from, port, protocol: 'tcp', servicePort: ports.http } as const;
        return chosen(flow)?.member !== name;
      });
      t.same(wrong, [], `each new one at the member that \`which\` names, to ${address}`);
      t.equal(said.short.length, newOnes);
      return said;
    };
    const first = await say(weights(1, 1, 1));
    t.same([...new Set(first.kept)].sort(), names, 'all members have some');
    const drained = await say(weights(0, 1, 1));
    t.same(drained.kept, first.kept, 'kept ones are where they were');
    t.notOk(
      drained.short.some(([, name]) => name === 'web1'),
      'nothing new goes to whom drains',
    );
    await say(weights(0, 3, 1));
  }
  const { dropped } = await dispatcher.counters('web');
  t.same(
    Object.values(dropped).filter((count) => count > 0),
    [],
  );
});

/** In a client: each question from a port of its own. */
const dns = `
const { Resolver } = require('dns').promises;
const [address, name, count] = process.argv.slice(1);
const ask = async () => {
  const resolver = new Resolver({ timeout: 3000, tries: 1 });
  resolver.setServers([address.includes(':') ? '[' + address + ']:53' : address + ':53']);
  try { return (await resolver.resolveTxt(name)).flat().join(''); } catch (error) { return String(error); }
};
(async () => {
  const answers = [];
  for (let done = 0; done < Number(count); done += 20) answers.push(...await Promise.all(Array.from({ length: 20 }, ask)));
  console.log(JSON.stringify(answers));
})();
`;

test('DNS: every question over UDP is answered, by all members; what is too long comes over TCP', async (t) => {
  const spec = service({ ports: [udp(ports.dns), tcp(ports.dns)] });
  const { far, members, dispatcher } = await open(t, spec);
  await Promise.all(members.map((member, at) => dnsmasq(t, member, names[at] ?? '')));
  const ask = async (address: string, name: string, count: number) => {
    const said = await far.at.exec(process.execPath, '-e', dns, '--', address, name, `${count}`);
    return JSON.parse(said) as readonly string[];
  };
  for (const address of [vip4, vip6]) {
    const answers = await ask(address, 'who.test', 300);
    t.same([...new Set(answers)].sort(), names, `300 answers, of all members: ${address}`);
    const long = await ask(address, 'long.test', 20);
    const wrong = long.filter((answer) => !/^(web\d)-0-x{200}(\1-\d-x{200}){7}$/.test(answer));
    t.same(wrong, [], 'the whole of a long answer');
  }
  const { dropped } = await dispatcher.counters('web');
  t.same(
    Object.values(dropped).filter((count) => count > 0),
    [],
  );
});

test('iperf3: a UDP stream beside its TCP connection, to a member that drains meanwhile', async (t) => {
  const sticky = { hash: 'source-ip', udpStickyMs: 30_000 } as const;
  const spec = service({ ports: [tcp(ports.iperf), udp(ports.iperf)], ...sticky });
  const { far, near, members, dispatcher } = await open(t, spec);
  await Promise.all(members.map((member) => iperf(t, member)));
  for (const client of [far, near]) {
    await dispatcher.ensure(spec);
    const flow = { ...client.flow({ port: 1 }), servicePort: ports.iperf };
    const chosen = chooser(spec)(flow)?.member ?? '';
    const before = await dispatcher.counters('web');
    // 1,000 datagrams of 1,000 bytes a second.
    const command = `iperf3 --client ${vip4} --port ${ports.iperf} --udp --bitrate 8M --length 1000 --time 2 --json`;
    const streaming = client.at.exec(...command.split(' '));
    const begun = async (): Promise<void> => {
      const now = await dispatcher.counters('web');
      const had = before.forwarded.find(({ personality }) => personality === chosen)?.packets ?? 0;
      const has = now.forwarded.find(({ personality }) => personality === chosen)?.packets ?? 0;
      if (has < had + 500) return begun();
    };
    await Promise.race([begun(), streaming]);
    const drained = weights(...names.map((name) => (name === chosen ? 0 : 1)));
    await dispatcher.ensure({ ...spec, ...drained });
    const { end } = JSON.parse(await streaming) as {
      end: { sum: { packets: number; lost_packets: number; out_of_order?: number } };
    };
    t.ok(end.sum.packets >= 1_900, `${end.sum.packets} datagrams were sent`);
    t.ok(end.sum.lost_packets <= end.sum.packets / 100, `${end.sum.lost_packets} of them lost`);
    const after = await dispatcher.counters('web');
    const got = after.forwarded.filter(
      ({ personality, packets }) =>
        packets > (before.forwarded.find((one) => one.personality === personality)?.packets ?? 0),
    );
    t.same(
      got.map(({ personality }) => personality),
      [chosen],
      'all of it went to one member',
    );
  }
});

test('FTP: its data connections, active and passive, are at the member of the control connection', async (t) => {
  const related = [tcp(20, ports.ftp), tcp(passive.first, passive.last)];
  const spec = service({ ports: related, hash: 'source-ip' });
  const { far, members, dispatcher } = await open(t, spec);
  await Promise.all(members.map((member, at) => vsftpd(t, member, names[at] ?? '')));
  const clients = Array.from({ length: 12 }, (_, at) => `10.10.0.${210 + at}`);
  for (const address of clients) far.at.ip(`addr add ${address}/24 dev eth0`);
  const fetch = (from: string, ...how: readonly string[]) =>
    far.at
      .exec(
        ...['curl', '--silent', '--show-error', '--max-time', '20', '--interface', from],
        ...[...how, `ftp://${vip4}/name`],
      )
      .catch((thrown: { stderr?: string }) => `failed: ${thrown.stderr ?? ''}`);
  const chosen = chooser(spec);
  const wanted = clients.map(
    (address) => chosen({ address, port: 1, protocol: 'tcp', servicePort: ports.ftp })?.member,
  );
  t.equal(new Set(wanted).size, 3, 'the clients belong to all members');
  const ways = {
    'EPSV (RFC 2428)': () => [],
    PASV: () => ['--disable-epsv'],
    'EPRT (RFC 2428)': (from: string) => ['--ftp-port', from],
    PORT: (from: string) => ['--disable-eprt', '--ftp-port', from],
  };
  for (const [way, how] of Object.entries(ways)) {
    const got = await Promise.all(clients.map((from) => fetch(from, ...how(from))));
    t.same(got, wanted, way);
  }
  await dispatcher.ensure({ ...spec, hash: 'source-ip-port' });
  const apart = await Promise.all(clients.map((from) => fetch(from)));
  t.ok(
    apart.some((said) => said.startsWith('failed')),
    'by ports as well they would be parted: what this test would see',
  );
});
