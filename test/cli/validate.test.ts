import { test } from 'tap';
import { runProgram, understudy } from './run.js';

const broken = 'test/config/broken/unknown-key.yaml';

test('validate says what a valid file has', async (t) => {
  t.strictSame(await understudy(['validate', 'examples/two-racks.yaml']), {
    code: 0,
    stdout: 'examples/two-racks.yaml is valid: 8 hosts, 3 personalities, 1 service\n',
    stderr: '',
  });
});

test('validate tells each problem with file, line, column, path and what to write', async (t) => {
  t.strictSame(await understudy(['validate', broken]), {
    code: 2,
    stdout: '',
    stderr: [
      `${broken}:7:16: hosts[1].adress: unknown key adress`,
      '  do: write address',
      'one problem; nothing was changed',
      '',
    ].join('\n'),
  });
});

test('validate --json prints one object, valid or not', async (t) => {
  const good = await understudy(['validate', '--json', 'examples/lab.yaml']);
  t.strictSame(JSON.parse(good.stdout), { ok: true, cluster: 'lab', warnings: [] });
  t.equal(good.code, 0);
  const bad = await understudy(['validate', broken, '--json']);
  t.strictSame(JSON.parse(bad.stdout), {
    ok: false,
    problems: [
      {
        path: 'hosts[1].adress',
        line: 7,
        column: 16,
        what: 'unknown key adress',
        write: 'write address',
      },
    ],
  });
  t.strictSame([bad.code, bad.stderr], [2, '']);
});

test('validate warns on stderr of what is doubtful, and takes the file', async (t) => {
  const input = [
    'cluster: small',
    'controllers: [h1]',
    'store: {endpoints: ["http://10.66.0.1:2379"]}',
    'hosts: [{name: h1, address: 10.66.0.1}]',
    'volumes: [{name: d, portals: ["10.77.0.1:3260"], target: "iqn.2026-11.example.lab:d", lun: 1}]',
  ].join('\n');
  // Through a pipe: what Node gives a child as standard input is a socket, and has no such path.
  const script = 'cat | node bin/understudy validate /dev/stdin';
  const ran = await runProgram('bash', ['-c', script], { input });
  t.equal(ran.code, 0);
  t.match(ran.stderr, /^\/dev\/stdin:5:11: volumes\[0\]: warning: volume d belongs to nobody$/m);
  t.match(ran.stdout, /is valid: 1 host, 0 personalities, 0 services/);
});

test('a file that cannot be read is wrong usage, told in the form of every error', async (t) => {
  const ran = await understudy(['validate', 'no/such/file.yaml', '--json']);
  t.equal(ran.code, 2);
  t.match(
    ran.stderr,
    /^US_FILE_UNREADABLE: cannot read no\/such\/file\.yaml\n {2}cause: ENOENT.*\n {2}do: {4}/,
  );
  t.match(JSON.parse(ran.stdout), { ok: false, error: { code: 'US_FILE_UNREADABLE' } });
});

test('a file without end is read only as far as a cluster file may go', async (t) => {
  const ran = await understudy(['validate', '/dev/zero']);
  t.equal(ran.code, 2);
  t.match(ran.stderr, /larger than 1 MiB/);
});
