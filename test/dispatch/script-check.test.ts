import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { ScriptChecks } from '../../src/dispatch/script-check.js';
import { scriptTrouble } from '../../src/dispatch/script-file.js';
import { scriptUser } from '../../src/dispatch/script-user.js';
import { closeProcess, openProcess, waitForEnd } from '../../src/ffi/pidfd.js';

const never = new AbortController().signal;
const patientMs = 10_000;

/** A folder that nobody may enter and write to, with the script in it. */
function folder(t: Test): string {
  const path = mkdtempSync('/tmp/understudy-script-');
  chmodSync(path, 0o777);
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

function script(t: Test, body: string, program = '#!/bin/sh') {
  const path = join(folder(t), 'check');
  writeFileSync(path, `${program}\n${body}\n`);
  chmodSync(path, 0o755);
  return {
    id: 'web/web1',
    namespacePath: '/proc/self/ns/net',
    command: [path, 'two words', '$HOME;'],
    environment: { UNDERSTUDY_SERVICE: 'web', UNDERSTUDY_MEMBER_MAC: '02:00:00:00:00:11' },
    timeoutMs: patientMs,
  };
}

test('exit code 0 is well; all else is told with its last line', async (t) => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['exit 0', undefined],
    ['echo fine; exit 0', undefined],
    ['exit 3', 'script: exit code 3'],
    ['echo first; echo "no answer from db" >&2; exit 1', 'script: exit code 1: no answer from db'],
    ['printf "red \\033[31m\\a"; exit 2', 'script: exit code 2: red ?[31m?'],
    ['kill -SEGV $$', 'script: signal SIGSEGV'],
  ];
  for (const [body, why] of cases) {
    t.equal(await new ScriptChecks().ask(script(t, body), never), why, body);
  }
  const long = await new ScriptChecks().ask(script(t, 'printf %0500d 7; exit 1'), never);
  t.equal(long?.length, 'script: exit code 1: '.length + 200, 'a line is cut');
});

test('arguments go as they are, the environment is no more than what is told', async (t) => {
  const check = script(
    t,
    'd=$(dirname "$0"); printf "%s\\n" "$@" > $d/argv; env > $d/env; id -u > $d/uid; grep -E "^(Cap|NoNew|Groups)" /proc/self/status > $d/status; cat > $d/stdin',
  );
  process.env.UNDERSTUDY_TEST_SECRET = 'sesame';
  t.teardown(() => delete process.env.UNDERSTUDY_TEST_SECRET);
  t.equal(await new ScriptChecks().ask(check, never), undefined);
  const read = (name: string) =>
    readFileSync(join(check.command[0] ?? '', '..', name), 'utf8').trim();
  t.equal(read('argv'), 'two words\n$HOME;', 'no shell read them');
  const names = read('env').match(/^[A-Z_]+(?==)/gm) ?? [];
  // tap gives its own to whatever is spawned.
  const ours = names.filter((name) => !/^(?:_TAPJS_\w*|NODE_OPTIONS|PWD|_)$/.test(name));
  t.same(ours.sort(), ['LANG', 'PATH', 'UNDERSTUDY_MEMBER_MAC', 'UNDERSTUDY_SERVICE']);
  t.equal(read('uid'), '65534');
  t.notMatch(read('status'), /^Cap...:\s+0*[1-9a-f]/m, 'no capabilities, not even to come');
  t.match(read('status'), /NoNewPrivs:\s+1/);
  t.equal(read('stdin'), '');
});

/** Until a line is in it. */
async function untilWritten(path: string): Promise<void> {
  const watcher = watch(join(path, '..'));
  while (!existsSync(path) || !readFileSync(path, 'utf8').endsWith('\n'))
    await once(watcher, 'change');
  watcher.close();
}

/** A process that the check started ends. */
async function seeEnd(t: Test, path: string): Promise<void> {
  const process = openProcess(Number(readFileSync(path, 'utf8')));
  if (process === undefined) return;
  t.ok(await waitForEnd(process, patientMs), 'no process is left');
  closeProcess(process);
}

test('the time is up for all of its process group', async (t) => {
  const check = script(t, 'sleep 1000 & echo $! > "$(dirname "$0")/pid"; echo asking; wait');
  const why = await new ScriptChecks().ask({ ...check, timeoutMs: 500 }, never);
  t.match(why, /^script: no end within 500 ms/);
  const pid = join(check.command[0] ?? '', '..', 'pid');
  if (existsSync(pid)) await seeEnd(t, pid);
});

test('what it leaves behind ends with it, and does not hold up the answer', async (t) => {
  const check = script(t, 'sleep 1000 & echo $! > "$(dirname "$0")/pid"; exit 4');
  t.equal(await new ScriptChecks().ask(check, never), 'script: exit code 4');
  await seeEnd(t, join(check.command[0] ?? '', '..', 'pid'));
});

test('who says too much is ended', async (t) => {
  const why = await new ScriptChecks().ask(script(t, 'exec yes'), never);
  t.match(why, /^script: more than 64 KiB of output: y/);
});

test('of many that are due at once, one starts in each turn of the event loop', async (t) => {
  const checks = new ScriptChecks();
  const check = script(t, 'exit 0');
  const started = () =>
    process.getActiveResourcesInfo().filter((one) => one === 'ProcessWrap').length;
  const before = started();
  const asked = Array.from({ length: 6 }, (_, at) =>
    checks.ask({ ...check, id: `web/web${at}` }, never),
  );
  for (let turn = 0; turn < 6; turn += 1) {
    t.ok(started() - before <= turn, `turn ${turn}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same(
    await Promise.all(asked),
    asked.map(() => undefined),
  );
});

test('one that is called off is killed', async (t) => {
  const off = new AbortController();
  const asked = new ScriptChecks().ask(script(t, 'sleep 1000'), off.signal);
  off.abort();
  t.equal(await asked, 'script: called off', 'before it began');
  const check = script(t, 'sleep 1000 & echo $! > "$(dirname "$0")/pid"; wait');
  const later = new AbortController();
  const running = new ScriptChecks().ask(check, later.signal);
  const pid = join(check.command[0] ?? '', '..', 'pid');
  await untilWritten(pid);
  later.abort();
  t.equal(await running, 'script: called off');
  await seeEnd(t, pid);
});

test('a program that is not there or may not be run is told, by the check and before it', async (t) => {
  const checks = new ScriptChecks();
  const check = script(t, 'exit 0');
  const [path = ''] = check.command;
  t.equal(scriptTrouble(path), undefined);
  chmodSync(path, 0o700);
  t.match(await checks.ask(check, never), /^script: exit code \d+: .*Permission denied/);
  t.match(scriptTrouble(path), /nobody, whom it is run as, may not execute it/);
  rmSync(path);
  t.match(await checks.ask(check, never), /^script: exit code 127: .*No such file/);
  t.equal(scriptTrouble(path), 'it is not there');
  mkdirSync(path, 0o755);
  t.equal(scriptTrouble(path), 'it is no file');
  rmSync(path, { recursive: true });
  writeFileSync(path, '#!/bin/sh\n', { mode: 0o755 });
  chmodSync(join(path, '..'), 0o700);
  t.match(scriptTrouble(path), /may not enter/);
  const gone = { ...check, namespacePath: '/run/netns/us-nobody-has-this' };
  t.match(await checks.ask(gone, never), /^script: exit code 1: nsenter/);
});

test('another user: with its own groups, and no more than nobody may', async (t) => {
  const check = { ...script(t, ''), user: 'backup' };
  // Debian's base-passwd: the same on every machine.
  const say = (words: string) => script(t, `echo "${words}"; exit 1`).command;
  const told = async (words: string) =>
    new ScriptChecks().ask({ ...check, command: say(words) }, never);
  t.equal(await told('$(id -u) $(id -g) $(id -G)'), 'script: exit code 1: 34 34 34');
  const caps = '$(grep -h -e Cap -e NoNewPrivs /proc/self/status | tr -s "\\n\\t" "  ")';
  t.match(await told(caps), /CapInh: 0+ CapPrm: 0+ CapEff: 0+ CapBnd: 0+ CapAmb: 0+ NoNewPrivs: 1/);
  for (const [user, why] of [
    ['root', 'script: user root is root, or in root’s group'],
    ['no-such-user', 'script: there is no user no-such-user in /etc/passwd'],
  ] as const) {
    t.equal(await new ScriptChecks().ask({ ...check, user }, never), why);
  }
});

test('users are those of the host’s own files, root by another name is none', (t) => {
  const at = folder(t);
  const files = { passwd: join(at, 'passwd'), group: join(at, 'group') };
  writeFileSync(
    files.passwd,
    'root:x:0:0::/:/bin/sh\ntoor:x:0:7::/:/bin/sh\nwheel:x:7:0::/:/bin/sh\ndb:x:110:111::/:/bin/sh\nodd:x::5::/:/bin/sh\n',
  );
  writeFileSync(files.group, 'root:x:0:db\nssl:x:112:a,db\nother:x:113:a\nown:x:111:db\n');
  t.same(scriptUser('db', files), { name: 'db', uid: 110, gid: 111, groups: [112] });
  for (const name of ['root', 'toor', 'wheel'])
    t.match(scriptUser(name, files), /is root, or in root’s group/);
  t.match(scriptUser('odd', files), /not in order/);
  t.match(scriptUser('a', files), /no user a/);
  t.match(scriptUser('db', { ...files, group: join(at, 'none') }), /no such file/);
  const path = join(at, 'check');
  writeFileSync(path, '');
  chmodSync(path, 0o700);
  chownSync(path, 110, 0);
  t.equal(scriptTrouble(path, 'db', files), undefined, 'its own');
  chmodSync(path, 0o610);
  t.match(scriptTrouble(path, 'db', files), /db, whom it is run as, may not execute it/);
  chownSync(path, 0, 112);
  t.equal(scriptTrouble(path, 'db', files), undefined, 'of its group');
  chmodSync(path, 0o601);
  t.match(scriptTrouble(path, 'db', files), /may not execute it/, 'its group counts before others');
  chmodSync(at, 0o700);
  chmodSync(path, 0o755);
  t.match(scriptTrouble(path, 'db', files), /may not enter/);
  t.end();
});
