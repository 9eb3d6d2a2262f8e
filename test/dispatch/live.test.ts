import { once } from 'node:events';
import { createInterface } from 'node:readline';
import tap, { type Test, test } from 'tap';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import type { TestNamespace } from '../bpf-net.js';
import { Flood } from './flood.js';
import { noLimit, service, stage, startNode, vip4 } from './stage.js';

tap.setTimeout(180_000);
const count = 200;

/** In a member: answers every chunk with its name. */
const server = `
const [name] = process.argv.slice(1);
require('net').createServer((socket) => {
  socket.setNoDelay(true);
  socket.on('data', (data) => socket.write(name + ';'));
  socket.on('error', () => {});
}).listen(7, '::', () => console.log('ready'));
`;

/** In a client: connections that talk all the time; 'check' asks each for an answer to a new question. */
const client = `
const [address, count] = process.argv.slice(1);
const connections = [];
let moved = 0, broken = 0, answered = 0;
const report = () => { if (answered + broken >= Number(count)) { console.log(moved + ' moved, ' + broken + ' broken'); answered = -1e9; } };
for (let at = 0; at < Number(count); at += 1) {
  const socket = require('net').connect({ host: address, port: 7, localPort: 20000 + at * 3 });
  const connection = { socket, at: undefined, asked: true, dead: false };
  connections.push(connection);
  socket.setNoDelay(true);
  socket.on('connect', () => socket.write('?'));
  socket.on('data', (data) => {
    for (const name of String(data).split(';')) {
      if (name === '') continue;
      connection.at ??= name;
      if (connection.at !== name) moved += 1;
    }
    if (connection.asked) { connection.asked = false; answered += 1; report(); }
    setTimeout(() => socket.write('.'), 20);
  });
  socket.on('error', () => {});
  socket.on('close', () => { if (!connection.dead) { connection.dead = true; broken += 1; report(); } });
}
require('readline').createInterface({ input: process.stdin }).on('line', () => {
  answered = 0;
  for (const connection of connections) if (!connection.dead) { connection.asked = true; connection.socket.write('?'); }
  report();
});
`;

class Crowd {
  readonly #child;
  readonly #lines;

  constructor(t: Test, at: TestNamespace) {
    this.#child = startNode(t, at, client, vip4, String(count));
    if (this.#child.stdout === null) throw new Error('no output');
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  /** When every connection has been answered once more, or is dead. */
  async said(): Promise<string> {
    const [line] = (await once(this.#lines, 'line')) as [string];
    return line;
  }

  check(): Promise<string> {
    const said = this.said();
    this.#child.stdin?.write('check\n');
    return said;
  }
}

const weights = (...list: readonly number[]): Partial<DispatchSpec> => ({
  ports: [{ protocol: 'tcp', first: 7, last: 7 }],
  members: service()
    .members.map((member, at) => ({ ...member, weight: list[at] ?? 0 }))
    .filter((_, at) => at < list.length),
});
const whole = '0 moved, 0 broken';

test('200 live connections: a drain, an addition, other weights, two changes in a row, a restart', async (t) => {
  const { far, members, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const first = await newDispatcher();
  await first.ensure(service(weights(1, 1)));
  answer();
  await serve(t, members);
  const crowd = new Crowd(t, far.at);
  t.equal(await crowd.said(), whole);
  const steps: readonly (readonly [string, ...(readonly number[])[]])[] = [
    ['an addition', [1, 1, 1]],
    ['a drain', [0, 1, 1]],
    ['other weights', [0, 5, 1]],
    ['two changes in a row', [1, 5, 1], [1, 1]],
  ];
  for (const [name, ...changes] of steps) {
    for (const list of changes) await first.ensure(service(weights(...list)));
    t.equal(await crowd.check(), whole, name);
  }
  await first.stop();
  t.equal(await crowd.check(), whole, 'with nobody there');
  const second = await newDispatcher();
  await second.ensure(service(weights(1, 1)));
  t.equal(await crowd.check(), whole, 'after a restart');
  await second.ensure(service(weights(0, 1)));
  t.equal(await crowd.check(), whole, 'a drain by the next one');
  const { forwarded } = await second.counters('web');
  t.equal(
    forwarded.reduce((sum, { newFlows }) => sum + newFlows, 0),
    count,
    'each began once',
  );
});

test('200 live connections in a flood of SYNs from everywhere: a drain, other weights, two changes', async (t) => {
  const { far, farHost, members, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const dispatcher = await newDispatcher();
  await dispatcher.ensure(service(weights(1, 1, 1)));
  answer();
  await serve(t, members);
  const crowd = new Crowd(t, far.at);
  t.equal(await crowd.said(), whole);
  const flood = new Flood(farHost, 'eth1');
  t.teardown(() => flood.end());
  const steps: readonly (readonly [string, ...(readonly number[])[]])[] = [
    ['a drain', [0, 1, 1]],
    ['other weights', [0, 5, 1]],
    ['two changes in a row', [1, 5, 1], [1, 1]],
  ];
  for (const [name, ...changes] of steps) {
    for (const list of changes) await dispatcher.ensure(service(weights(...list)));
    t.equal(await crowd.check(), whole, name);
  }
  flood.end();
  const { forwarded } = await dispatcher.counters('web');
  const begun = forwarded.reduce((sum, { newFlows }) => sum + newFlows, 0);
  t.ok(begun > 10 * count, `the flood was one: ${begun} SYNs`);
});

test('with no time to drain they break: what the test before would see', async (t) => {
  const { far, members, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const dispatcher = await newDispatcher();
  await dispatcher.ensure(service({ ...weights(1, 1, 1), drainMs: 0 }));
  answer();
  await serve(t, members);
  const crowd = new Crowd(t, far.at);
  t.equal(await crowd.said(), whole);
  await dispatcher.ensure(service({ ...weights(0, 1, 1), drainMs: 0 }));
  t.match(await crowd.check(), /^0 moved, [4-9]\d broken$/, 'a third of them');
});

async function serve(t: Test, members: readonly TestNamespace[]): Promise<void> {
  await Promise.all(
    members.map(async (member, index) => {
      const child = startNode(t, member, server, `web${index + 1}`);
      if (child.stdout !== null) await once(child.stdout, 'data');
    }),
  );
}
