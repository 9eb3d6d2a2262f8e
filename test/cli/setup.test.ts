import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Test, test } from 'tap';
import { type Ran, runProgram } from './run.js';

/** A machine made of stubs: what the set-up asks dpkg, apt-get and systemctl, and what they answer. */
class Machine {
  readonly folder: string;
  readonly policy: string;
  readonly #bin: string;

  constructor(t: Test, { missing = '', apt = ':', uid = 0 }) {
    this.folder = t.testdir({});
    this.policy = join(this.folder, 'policy-rc.d');
    this.#bin = join(this.folder, 'bin');
    mkdirSync(this.#bin);
    this.write('os-release', 'PRETTY_NAME="Debian"\nID=debian\n');
    this.write('missing', missing);
    this.stub('id', `echo ${uid}`);
    this.stub(
      'dpkg-query',
      `case $1 in
        -L) echo /lib/systemd/system/$2.service; exit ;;
      esac
      shift; shift; shift
      test $# -gt 0 || set -- old-package tgt nginx-light
      for name; do grep -qxF "$name" ${this.folder}/missing || echo "ii  $name"; done`,
    );
    this.stub(
      'apt-get',
      `echo "apt-get $*" >>${this.folder}/calls
      cp ${this.policy} ${this.folder}/policy-meanwhile
      ${apt}
      case " $* " in *simulate*) ;; *' install '*) : >${this.folder}/missing ;; esac`,
    );
    this.stub('systemctl', `echo "systemctl $*" >>${this.folder}/calls`);
    this.stub('nginx', 'exit 0');
    this.stub('busybox', 'exit 0');
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  read(name: string): string {
    const path = join(this.folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  stub(name: string, script: string): void {
    const path = join(this.#bin, name);
    writeFileSync(path, `#!/bin/bash\n${script}\n`);
    chmodSync(path, 0o755);
  }

  setUp(script = 'bash scripts/setup'): Promise<Ran> {
    const env = {
      ...process.env,
      PATH: [this.#bin, process.env.PATH].join(delimiter),
      UNDERSTUDY_ONLY_PACKAGES: '1',
      UNDERSTUDY_OS_RELEASE: join(this.folder, 'os-release'),
      UNDERSTUDY_POLICY_RC_D: this.policy,
      UNDERSTUDY_SETUP_LOCK: join(this.folder, 'lock'),
    };
    return runProgram('bash', ['-c', script], { env });
  }
}

const theirs = '#!/bin/sh\nexit 104\n';

test('nothing missing: nothing done, nothing said', async (t) => {
  const machine = new Machine(t, {});
  t.strictSame(await machine.setUp(), { code: 0, stdout: '', stderr: '' });
  t.equal(machine.read('calls'), '');
  t.notOk(existsSync(machine.policy));
});

test('services are forbidden to start meanwhile, and what came is disabled', async (t) => {
  const machine = new Machine(t, { missing: 'tgt\n' });
  const ran = await machine.setUp();
  t.strictSame([ran.code, ran.stdout, ran.stderr], [0, '', 'setup: installing tgt\n']);
  const calls = machine.read('calls').trim().split('\n');
  t.match(calls, [
    /^apt-get .*install --simulate .*tgt$/,
    /^apt-get .*install -y --no-install-recommends --no-remove tgt$/,
    'systemctl is-enabled --quiet tgt.service',
    'systemctl disable --quiet tgt.service',
  ]);
  t.equal(calls.length, 4, 'no lists were read, and no unit of what was there before was touched');
  t.match(machine.read('policy-meanwhile'), /\nexit 101\n$/);
  t.notOk(existsSync(machine.policy));
});

test('a policy-rc.d that is there comes back: on success, failure and interruption', async (t) => {
  const ways: readonly (readonly [string, number | string])[] = [
    [':', 0],
    ['echo "E: no such package" >&2; exit 100', 1],
    ['kill -TERM $PPID; exit 0', 143],
  ];
  for (const [apt, code] of ways) {
    const machine = new Machine(t, { missing: 'tgt\n', apt });
    machine.write('policy-rc.d', theirs);
    chmodSync(machine.policy, 0o711);
    const ran = await machine.setUp();
    t.equal(ran.code, code, apt);
    t.match(machine.read('policy-meanwhile'), /\nexit 101\n$/, 'it was ours meanwhile');
    t.equal(machine.read('policy-rc.d'), theirs);
    t.equal(statSync(machine.policy).mode & 0o777, 0o711);
    t.notOk(existsSync(`${machine.policy}.before-understudy`));
  }
});

test('what a set-up left that was killed outright is put right by the next', async (t) => {
  const machine = new Machine(t, { missing: 'tgt\n', apt: 'kill -KILL $PPID; exit 0' });
  machine.write('policy-rc.d', theirs);
  t.equal((await machine.setUp('bash scripts/setup; true')).code, 0);
  t.not(machine.read('policy-rc.d'), theirs);
  machine.stub('apt-get', `: >${machine.folder}/missing`);
  t.equal((await machine.setUp()).code, 0);
  t.equal(machine.read('policy-rc.d'), theirs);
});

test('a failure shows the last words of apt-get and tries fresh lists once', async (t) => {
  const machine = new Machine(t, { missing: 'tgt\n', apt: 'echo "E: no such package"; exit 100' });
  const ran = await machine.setUp();
  t.equal(ran.code, 1);
  t.match(ran.stderr, /E: no such package\nsetup: apt-get update failed\n/);
});

test('not root: says what to install', async (t) => {
  const machine = new Machine(t, { missing: 'tgt\nclang\n', uid: 1_000 });
  t.strictSame(await machine.setUp(), {
    code: 1,
    stdout: '',
    stderr:
      'setup: packages are missing, and only root can install them:\n       apt-get install tgt clang\n',
  });
});

test('not Debian: says what is needed, and takes the word of whoever has it', async (t) => {
  const machine = new Machine(t, {});
  machine.write('os-release', 'ID=fedora\n');
  const ran = await machine.setUp();
  t.equal(ran.code, 1);
  t.match(
    ran.stderr,
    /not Debian.*\n.*etcd-server .*user-mode-linux.*\n.*UNDERSTUDY_SKIP_PACKAGES=1/,
  );
  t.equal((await machine.setUp('UNDERSTUDY_SKIP_PACKAGES=1 bash scripts/setup')).code, 0);
});

test('another nginx will do for nginx-light', async (t) => {
  const machine = new Machine(t, { missing: 'nginx-light\n' });
  t.strictSame(await machine.setUp(), { code: 0, stdout: '', stderr: '' });
});
