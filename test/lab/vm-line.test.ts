import { mkdirSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Test, test } from 'tap';
import { runInVm } from '../../src/lab/vm/guest.js';
import { isPaused, stopProcessor } from '../../src/lab/vm/machine.js';

interface Question {
  readonly execute: string;
  readonly arguments?: { readonly id?: number };
}

/** The other end of a line; `reply` answers each question in words of its own. */
async function listening(
  t: Test,
  name: string,
  reply: (question: Question, say: (text: string) => void, socket: Socket) => void,
  greeting = '',
): Promise<string> {
  // A folder whose socket's path is longer than an address may be (unix(7): 108 bytes).
  const folder = join(t.testdir(), 'a-long-name'.repeat(10));
  mkdirSync(folder);
  const here = process.cwd();
  const server = createServer((socket) => {
    const say = (text: string) => socket.write(`${text}\n`);
    if (greeting !== '') say(greeting);
    socket.on('error', () => undefined);
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => reply(JSON.parse(line) as Question, say, socket));
  });
  process.chdir(folder);
  try {
    await new Promise<void>((resolve) => server.listen(name, resolve));
  } finally {
    process.chdir(here);
  }
  t.teardown(() => server.close());
  return folder;
}

const greeting = '{"QMP": {"version": {}, "capabilities": []}}';

test('a machine is stopped, and its events are no answers', async (t) => {
  const asked: string[] = [];
  const folder = await listening(
    t,
    'machine.sock',
    ({ execute }, say) => {
      asked.push(execute);
      say('{"event": "STOP", "timestamp": {}}');
      say(execute === 'query-status' ? '{"return": {"status": "paused"}}' : '{"return": {}}');
    },
    greeting,
  );
  await stopProcessor(folder);
  t.equal(await isPaused(folder), true);
  t.same(asked, ['qmp_capabilities', 'stop', 'qmp_capabilities', 'query-status']);
});

test('what a machine refuses is told in its words', async (t) => {
  const folder = await listening(
    t,
    'machine.sock',
    ({ execute }, say) =>
      say(execute === 'stop' ? '{"error": {"class": "x", "desc": "not now"}}' : '{"return": {}}'),
    greeting,
  );
  await t.rejects(stopProcessor(folder), { message: 'not now' });
});

test('a machine without power, or that loses it meanwhile, is told of', async (t) => {
  const folder = await listening(t, 'machine.sock', (_, __, socket) => socket.destroy(), greeting);
  await t.rejects(stopProcessor(folder), /closed/);
  await t.rejects(runInVm(folder, ['true']), { code: 'ENOENT' });
});

test('a command in a guest: an earlier caller’s answer is not its own', async (t) => {
  let looks = 0;
  const folder = await listening(t, 'guest.sock', (question, say) => {
    if (question.execute === 'guest-sync') {
      say('{"return": {"pid": 1}}');
      say('d": 1}}');
      say(`{"return": ${question.arguments?.id}}`);
    } else if (question.execute === 'guest-exec') say('{"return": {"pid": 7}}');
    else if (++looks === 1) say('{"return": {"exited": false}}');
    else say('{"return": {"exited": true, "exitcode": 3, "out-data": "b3V0", "err-data": "ZXJy"}}');
  });
  const { code, stdout, stderr } = await runInVm(folder, ['false']);
  t.same([code, String(stdout), String(stderr), looks], [3, 'out', 'err', 2]);
});
