import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { BpfDispatcher, type BpfDispatcherOptions } from '../../src/dispatch/bpf-dispatcher.js';
import type { ClientFlow } from '../../src/dispatch/choose.js';
import { NftDispatcher } from '../../src/dispatch/nft-dispatcher.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { TestNamespace } from '../bpf-net.js';
import { ownBpffs, quiet } from '../bpf-place.js';

const vmac = '02:00:00:00:ff:01';
export const vip4 = '10.10.0.100';
export const vip6 = 'fd10::100';
export const noLimit = 0xffff_ffff_ffff_ffffn;

/** Runs in a member: says its name over TCP and UDP, and how much it was sent. */
const serverScript = `
const [name, ...addresses] = process.argv.slice(1);
const wanted = 1 + addresses.length;
let ready = 0;
const up = () => { ready += 1; if (ready === wanted) console.log('ready'); };
const server = require('net').createServer({ allowHalfOpen: true }, (socket) => {
  let bytes = 0;
  socket.on('data', (data) => { bytes += data.length; });
  socket.on('end', () => socket.end(name + ' ' + bytes));
  socket.on('error', () => {});
});
server.listen(80, '::', up);
for (const address of addresses) {
  const udp = require('dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (data, from) => udp.send(name + ' ' + data.length, from.port, from.address));
  udp.bind(2049, address, up);
}
`;

/** Runs in a client: one JSON request a line, one answer a line. */
const clientScript = `
const net = require('net');
const dgram = require('dgram');
const ask = {
  tcp: ({ address, from, port, bytes }, done) => {
    let answer = '';
    const socket = net.connect({ host: address, port: 80, localAddress: from, localPort: port });
    socket.setTimeout(3000, () => socket.destroy(new Error('timeout')));
    socket.on('connect', () => socket.end(Buffer.alloc(bytes)));
    socket.on('data', (data) => { answer += data; });
    socket.on('error', (error) => done(error.code || error.message));
    socket.on('end', () => done(answer));
  },
  udp: ({ address, from, port, bytes }, done) => {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const finish = (answer) => { clearTimeout(timer); socket.close(); done(answer); };
    const timer = setTimeout(() => finish('timeout'), 3000);
    socket.on('message', (data) => finish(String(data)));
    socket.bind(port, from, () => socket.send(Buffer.alloc(bytes), 2049, address));
  },
};
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const request = JSON.parse(line);
  ask[request.protocol](request, (answer) => console.log(JSON.stringify({ id: request.id, answer })));
});
`;

export function startNode(
  t: Test,
  at: TestNamespace,
  script: string,
  ...args: readonly string[]
): ChildProcess {
  const command = ['netns', 'exec', at.name, process.execPath, '-e', script, '--', ...args];
  const child = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(async () => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  });
  return child;
}

interface Ask {
  readonly protocol?: 'tcp' | 'udp';
  readonly address?: string;
  readonly port: number;
  readonly bytes?: number;
}

class Client {
  readonly at: TestNamespace;
  readonly address4: string;
  readonly address6: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: string) => void>();
  #next = 1;

  constructor(t: Test, at: TestNamespace, number: number) {
    this.at = at;
    this.address4 = `10.10.0.${number}`;
    this.address6 = `fd10::${number}`;
    this.#child = startNode(t, at, clientScript);
    const output = this.#child.stdout;
    if (output === null) throw new Error('no output');
    createInterface({ input: output }).on('line', (line) => {
      const { id, answer } = JSON.parse(line) as { id: number; answer: string };
      this.#waiting.get(id)?.(answer);
      this.#waiting.delete(id);
    });
  }

  /** What the member said: 'web1 0'. */
  ask({ protocol = 'tcp', address = vip4, port, bytes = 0 }: Ask): Promise<string> {
    const from = address.includes(':') ? this.address6 : this.address4;
    const id = this.#next;
    this.#next += 1;
    this.#child.stdin?.write(`${JSON.stringify({ id, protocol, address, from, port, bytes })}\n`);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  flow({ protocol = 'tcp', address = vip4, port }: Ask): ClientFlow {
    const from = address.includes(':') ? this.address6 : this.address4;
    return { address: from, port, protocol, servicePort: protocol === 'tcp' ? 80 : 2049 };
  }
}

export function service(more: Partial<DispatchSpec> = {}): DispatchSpec {
  return {
    service: 'web',
    namespace: 'svc-web',
    incarnation: 1,
    mac: vmac,
    addresses: [vip4, vip6],
    ports: [
      { protocol: 'tcp', first: 80, last: 80 },
      { protocol: 'udp', first: 2049, last: 2049 },
    ],
    hash: 'source-ip-port',
    members: [1, 2, 3].map((number) => ({
      personality: `web${number}`,
      mac: memberMac(number),
      weight: 1,
      healthy: true,
    })),
    seed: '00112233445566778899aabbccddeeff',
    ...more,
  };
}

const memberMac = (number: number) => `02:00:00:00:00:0${number}`;

/** Three hosts on a switch: a member on each, the dispatcher on the first. */
export async function stage(t: Test) {
  const prefix = `ustest-${process.pid}-d`;
  const place = ownBpffs(t);
  const network = new TestNamespace(t, 'dsw');
  network.ip('link add br0 type bridge stp_state 0 forward_delay 0');
  network.ip('link set br0 up');
  const plug = (host: TestNamespace, port: string) => {
    network.ip(`link add ${port} type veth peer name eth1 netns ${host.name}`);
    network.ip(`link set ${port} master br0 up`);
    host.set('net.ipv6.conf.eth1.disable_ipv6', 1);
    host.ip('link set eth1 up');
  };
  const role = (host: TestNamespace, at: TestNamespace, address: string) => {
    at.set('net.ipv6.conf.all.accept_dad', 0);
    at.set('net.ipv6.conf.default.accept_dad', 0);
    host.ip(
      `link add link eth1 name eth0 netns ${at.name} address ${address} type macvlan mode bridge`,
    );
  };
  const number = (at: TestNamespace, last: number) => {
    at.ip(`addr add 10.10.0.${last}/24 dev eth0`);
    at.ip(`addr add fd10::${last}/64 dev eth0 nodad`);
  };
  const hosts = [1, 2, 3].map((each) => {
    const host = new TestNamespace(t, 'dh');
    plug(host, `p${each}`);
    return host;
  });
  const [first] = hosts;
  if (first === undefined) throw new Error('three hosts are made');
  const dispatching = new TestNamespace(t, '', `${prefix}svc-web`);
  role(first, dispatching, vmac);
  const members: TestNamespace[] = [];
  for (const [index, host] of hosts.entries()) {
    const member = new TestNamespace(t, 'dm');
    role(host, member, memberMac(index + 1));
    number(member, 11 + index);
    for (const device of ['all', 'eth0']) {
      member.set(`net.ipv4.conf.${device}.arp_ignore`, 1);
      member.set(`net.ipv4.conf.${device}.arp_announce`, 2);
    }
    member.ip(`addr add ${vip4}/32 dev lo`);
    member.ip(`addr add ${vip6}/128 dev lo nodad`);
    member.ip('link set eth0 up');
    members.push(member);
  }
  const far = new TestNamespace(t, 'dc');
  const farHost = new TestNamespace(t, 'dh');
  plug(farHost, 'p4');
  role(farHost, far, '02:00:00:00:cc:01');
  const near = new TestNamespace(t, 'dc');
  role(first, near, '02:00:00:00:cc:02');
  for (const [at, last] of [
    [far, 201],
    [near, 202],
  ] as const) {
    number(at, last);
    at.ip('link set eth0 up');
  }

  const guard = new BpfGuard({ ...place, log: quiet });
  const lease = openLeaseMap(guard.prepare(1));
  guard.attach(dispatching.path, 'eth0', 1);
  t.teardown(() => {
    lease.close();
    guard.close();
  });
  const options = {
    ...place,
    namespaceDirectory: '/run/netns',
    namespacePrefix: prefix,
    log: quiet,
  };
  const newDispatcher = async (more: Partial<BpfDispatcherOptions> = {}) => {
    const dispatcher = new BpfDispatcher({ ...options, ...more });
    await dispatcher.start(new AbortController().signal);
    t.teardown(() => dispatcher.stop());
    return dispatcher;
  };
  const stateDirectory = join(place.bpffs, '..', `${prefix}-nftables`);
  t.teardown(() => rmSync(stateDirectory, { recursive: true, force: true }));
  const newNft = () => {
    const { namespaceDirectory, namespacePrefix, log } = options;
    return new NftDispatcher({ namespaceDirectory, namespacePrefix, stateDirectory, log });
  };
  /** As the agent does: data plane first, then the address. */
  const answer = () => {
    dispatching.ip('link set eth0 up');
    number(dispatching, 100);
  };
  await Promise.all(
    members.map(async (member, index) => {
      const child = startNode(t, member, serverScript, `web${index + 1}`, vip4, vip6);
      if (child.stdout !== null) await once(child.stdout, 'data');
    }),
  );
  const clients = { far: new Client(t, far, 201), near: new Client(t, near, 202) };
  return {
    network,
    host: first,
    farHost,
    place,
    dispatching,
    members,
    ...clients,
    guard,
    lease,
    newDispatcher,
    newNft,
    answer,
  };
}

export function checksumErrors(at: TestNamespace): Promise<number> {
  return at.exec('cat', '/proc/net/snmp', '/proc/net/snmp6').then((text) => {
    const lines = text.split('\n');
    let errors = 0;
    for (const [index, line] of lines.entries()) {
      const values = lines[index + 1]?.split(/\s+/) ?? [];
      const column = line.split(/\s+/).indexOf('InCsumErrors');
      if (column > 0 && /^\w+: \d/.test(lines[index + 1] ?? '')) errors += Number(values[column]);
      if (/^\w+6InCsumErrors/.test(line)) errors += Number(line.split(/\s+/)[1]);
    }
    return errors;
  });
}
