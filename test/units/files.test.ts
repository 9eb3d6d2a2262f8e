import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import tap, { type Test, test } from 'tap';
import { install } from './install.js';
import { buildPackage } from './package.js';

const run = promisify(execFile);
tap.setTimeout(120_000);

/** An installation below a folder of its own, as a package's build makes it. */
async function installed(t: Test) {
  const root = mkdtempSync(join(tmpdir(), 'understudy-install-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  await install(root);
  return { root, units: join(root, 'usr/local/lib/systemd/system') };
}

/** Exposure level by systemd's own judgement, 0 (safe) to 10. */
async function exposure(unit: string): Promise<number> {
  const args = ['security', '--offline=true', '--no-pager', unit];
  const { stdout } = await run('systemd-analyze', args);
  return Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
}

test('what is installed runs by itself, and is all taken away again', async (t) => {
  const { root } = await installed(t);
  const program = join(root, 'usr/local/bin/understudy');
  // Not from the checkout: its node_modules must not be found.
  const { stdout } = await run(program, ['--version'], { cwd: '/' });
  t.match(stdout, /^\d+\.\d+\.\d+\n$/);
  t.equal(statSync(join(root, 'usr/local/lib/understudy')).uid, 0);
  t.notOk(existsSync(join(root, 'usr/local/lib/understudy/node_modules/typescript')));

  await install(root);
  t.ok(existsSync(program), 'again, over itself');

  await install(root, '--remove');
  const { stdout: left } = await run('find', [root, '-not', '-type', 'd']);
  t.equal(left, '', 'not a file is left');
});

test('systemd finds no fault with the units', async (t) => {
  const { units } = await installed(t);
  const names = readdirSync(units).filter((name) => /\.(service|target)$/.test(name));
  t.same(names.sort(), [
    'understudy-agent.service',
    'understudy-pulse.service',
    'understudy-target.service',
    'understudy-volumes.target',
  ]);
  const args = ['verify', '--man=no', ...names.map((name) => join(units, name))];
  const { stderr } = await run('systemd-analyze', args);
  t.equal(stderr, '');
  for (const name of names) t.notMatch(readFileSync(join(units, name), 'utf8'), /@\w+@/);

  t.ok((await exposure(join(units, 'understudy-pulse.service'))) <= 3.5, 'pulse');
  t.ok((await exposure(join(units, 'understudy-target.service'))) <= 3.5, 'target');
});

test('the agent has no mount namespace of its own, and pulse does not hang on it', async (t) => {
  const text = (name: string) =>
    readFileSync(new URL(`../../../systemd/understudy-${name}.service`, import.meta.url), 'utf8');
  // systemd.exec(5): each of these implies one.
  const unshares =
    /^(Private(Tmp|Devices|Mounts)|Protect(System|Home|ControlGroups|Kernel\w+|Proc|Hostname)|ProcSubset|(ReadOnly|ReadWrite|Inaccessible|Bind\w*)Paths|TemporaryFileSystem|Root\w+|DynamicUser|MountFlags)=/m;
  t.notMatch(text('agent'), unshares);
  t.notMatch(text('pulse'), /understudy-agent/);
});

test('no daemon leaves a core, which would have its secrets in it', async (t) => {
  const { units } = await installed(t);
  for (const name of readdirSync(units).filter((one) => one.endsWith('.service')))
    t.match(readFileSync(join(units, name), 'utf8'), /^LimitCORE=0(?::infinity)?$/m, name);
});

test('two builds of the package are the same bytes, and it holds what it needs', async (t) => {
  const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'understudy-package-')));
  t.teardown(() => {
    for (const folder of folders) rmSync(folder, { recursive: true });
  });
  const [first = '', second = ''] = await Promise.all(folders.map((one) => buildPackage(one)));
  t.ok(readFileSync(first).equals(readFileSync(second)));

  const root = join(folders[0] ?? '', 'root');
  await run('dpkg-deb', ['--extract', first, root]);
  const { stdout } = await run(join(root, 'usr/bin/understudy'), ['--version'], { cwd: '/' });
  t.match(stdout, /^\d/);
  // Whatever a daemon would load later is there too.
  const modules = readdirSync(join(root, 'usr/lib/understudy/dist/src'), {
    recursive: true,
    encoding: 'utf8',
  }).filter((name) => name.endsWith('/main.js') && !name.startsWith('cli/'));
  const script = 'for (const one of process.argv.slice(1)) await import(one); process.exit();';
  const paths = modules.map((name) => join(root, 'usr/lib/understudy/dist/src', name));
  await run(process.execPath, ['--input-type=module', '-e', script, ...paths], { cwd: '/' });
  t.ok(modules.length >= 3, modules.join(' '));

  const units = join(root, 'usr/lib/systemd/system');
  for (const name of readdirSync(units).filter((one) => /\.(service|target)$/.test(one))) {
    const text = readFileSync(join(units, name), 'utf8');
    t.notMatch(text, /@\w+@|\/usr\/local/, name);
    const [, page = ''] = /^Documentation=file:(.*)$/m.exec(text) ?? [];
    t.ok(existsSync(join(root, page)), page);
  }
  const scripts = ['preinst', 'postinst', 'prerm', 'postrm'];
  for (const name of scripts) {
    await run('sh', ['-n', new URL(`../../../packaging/${name}`, import.meta.url).pathname]);
  }
});
