import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Test, test } from 'tap';
import { PulseClient } from '../../src/pulse/client.js';
import type { PulseMessageToPulse } from '../../src/pulse/protocol.js';

const hello = {
  kind: 'hello',
  pid: 1,
  nonce: '00'.repeat(16),
  startedAtMs: 1,
  bootId: 'b',
  enrolled: null,
  controlling: false,
  stopped: [],
} as const;

/** A pulse that answers as a test has it; `undefined` answers nothing. */
async function pretend(
  t: Test,
  path: string,
  answer: (message: PulseMessageToPulse, connection: number) => string | undefined,
): Promise<{ readonly server: Server; readonly sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const connection = sockets.push(socket);
    socket.on('error', () => {});
    createInterface({ input: socket }).on('line', (line) => {
      const text = answer(JSON.parse(line) as PulseMessageToPulse, connection);
      if (text !== undefined && !socket.destroyed) socket.write(text);
    });
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { server, sockets };
}

const line = (content: object) => `${JSON.stringify(content)}\n`;
const quick = { firstPauseMs: 1, lastPauseMs: 5 };

/** sun_path holds 108 bytes (unix(7)), which tap's own folders exceed. */
function shortFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('hello comes before the events that come with it', async (t) => {
  const path = join(shortFolder(t), 's');
  const event = { kind: 'refused', incarnation: 3 };
  await pretend(t, path, ({ id }) => line({ id, reply: hello }) + line({ event }));
  const client = new PulseClient({ path, ...quick });
  t.teardown(() => client.stop());
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    client.onEvent(({ kind }) => {
      order.push(kind);
      resolve();
    });
    client.onConnect(({ kind }) => order.push(kind));
    client.start(new AbortController().signal);
  });
  t.same(order, ['hello', 'refused']);
  client.onConnect(({ kind }) => order.push(kind));
  t.equal(order.length, 3, 'a late listener hears it at once');
});

test('it connects again: after a refusal, rubbish, silence, a lost connection', async (t) => {
  const path = join(shortFolder(t), 's');
  const busy = { kind: 'error', code: 'US_PULSE_BUSY', message: 'another agent is connected' };
  const { sockets } = await pretend(t, path, ({ id }, connection) => {
    if (connection === 1) return line({ id, reply: busy });
    if (connection === 2) return 'rubbish\n';
    if (connection === 3) return undefined;
    return line({ id, reply: { ...hello, pid: connection } });
  });
  const client = new PulseClient({ path, ...quick, timeoutMs: 50 });
  t.teardown(() => client.stop());
  const heard: number[] = [];
  await new Promise<void>((resolve) => {
    client.onConnect(({ pid }) => {
      heard.push(pid);
      if (heard.length === 1) sockets[pid - 1]?.destroy();
      else resolve();
    });
    client.start(new AbortController().signal);
  });
  // Each is tried again: where the machine was too busy to answer in time, one more.
  const [first = 0, second = 0] = heard;
  t.ok(first >= 4, `after ${first - 1} connections that were no good`);
  t.ok(second > first, 'and after the one that was lost');
});

test('requests fail in time', async (t) => {
  const path = join(shortFolder(t), 's');
  const { sockets } = await pretend(t, path, ({ id, request }) =>
    request.kind === 'hello' ? line({ id, reply: hello }) : undefined,
  );
  const stop = new AbortController();
  const client = new PulseClient({ path, ...quick, timeoutMs: 50 });
  await t.rejects(client.request({ kind: 'status' }), { code: 'US_PULSE_AWAY' });
  await new Promise<void>((resolve) => {
    client.onConnect(() => resolve());
    client.start(stop.signal);
  });
  await t.rejects(client.request({ kind: 'status' }), { code: 'US_PULSE_TIMEOUT' });
  const cutOff = client.request({ kind: 'status' });
  sockets.at(-1)?.destroy();
  await t.rejects(cutOff, { code: 'US_PULSE_AWAY' });
  stop.abort();
  await t.rejects(client.request({ kind: 'status' }), { code: 'US_PULSE_AWAY' });
});
