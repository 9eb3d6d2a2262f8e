import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { SystemCallError } from '../../src/ffi/libc.js';
import { withOwnMounts } from '../../src/ffi/own-mounts.js';

const options = process.getuid?.() === 0 ? {} : { skip: 'only root can mount' };

function folders(t: Test) {
  const root = t.testdir({ ours: { note: 'ours' }, theirs: { note: 'theirs' } });
  return { source: join(root, 'ours'), target: join(root, 'theirs'), root };
}

/** What of this thread a mount namespace is part of. */
const place = () => ({
  namespace: readlinkSync('/proc/thread-self/ns/mnt'),
  root: readlinkSync('/proc/thread-self/root'),
  rootNode: statSync('/').ino,
  folder: readlinkSync('/proc/thread-self/cwd'),
  mounts: readFileSync('/proc/thread-self/mountinfo', 'utf8').split('\n').length,
});

test(
  'what is started sees the one folder in place of the other, and nobody else',
  options,
  async (t) => {
    const bind = folders(t);
    const note = join(bind.target, 'note');
    const before = place();
    const script = 'cat "$1"; read -r line; cat "$1"; exit 7';
    const child = withOwnMounts([bind], () => spawn('sh', ['-c', script, 'sh', note]));
    t.same(place(), before, 'this thread is back where it was');
    t.equal(readFileSync(note, 'utf8'), 'theirs');
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    await once(child.stdout, 'data');
    t.equal(execFileSync('cat', [note]).toString(), 'theirs', 'nor does what is started after it');
    writeFileSync(join(bind.source, 'note'), 'changed');
    child.stdin.end('go\n');
    const [code] = await once(child, 'close');
    t.equal(code, 7, 'its exit code comes unchanged');
    t.equal(said, 'ourschanged', 'for as long as it runs');
  },
);

test('the root and the working directory stay what they were', options, (t) => {
  const { root, ...bind } = folders(t);
  mkdirSync(join(root, 'here'));
  const script = `
    import { withOwnMounts } from ${JSON.stringify(new URL('../../src/ffi/own-mounts.js', import.meta.url).href)};
    import { readlinkSync } from 'node:fs';
    process.chdir(${JSON.stringify(join(root, 'here'))});
    const cwd = () => readlinkSync('/proc/thread-self/cwd');
    const before = cwd();
    for (let turn = 0; turn < 100; turn += 1) withOwnMounts([${JSON.stringify(bind)}], () => {});
    console.log(before === cwd() && before === process.cwd() && before.endsWith('/here'));`;
  const argv = ['--input-type=module', '-e', script];
  t.equal(execFileSync(process.execPath, argv).toString(), 'true\n');
  t.end();
});

test('what fails leaves nothing behind', options, (t) => {
  const bind = folders(t);
  const before = place();
  const thrown = new Error('no');
  const failing = () => {
    throw thrown;
  };
  t.throws(() => withOwnMounts([bind], failing), thrown);
  t.same(place(), before);
  const missing = { ...bind, target: join(bind.root, 'missing') };
  const never = () => t.fail('not started');
  t.throws(() => withOwnMounts([bind, missing], never), SystemCallError);
  t.same(place(), before);
  t.end();
});
