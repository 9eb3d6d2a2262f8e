import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { Buckets, peerOf } from '../../src/api/buckets.js';
import { mayDo } from '../../src/api/roles.js';
import { makeToken, readTokenFile, takeApart, writeTokenFile } from '../../src/api/token-file.js';
import { Tokens } from '../../src/api/tokens.js';

function folder(t: Test): string {
  const made = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-tokens-`));
  t.teardown(() => rmSync(made, { recursive: true }));
  return made;
}

const times = { nowUnixMs: 1_000, expiresUnixMs: 2_000 };

test('a token is let in until its end, by its role', async (t) => {
  const path = join(folder(t), 'tokens.json');
  const { entry, text } = await makeToken({ name: 'alice@ops', role: 'operate', ...times });
  writeTokenFile(path, [entry]);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.notMatch(readFileSync(path, 'utf8'), takeApart(text)?.secret, 'its secret is nowhere');
  let unixMs = 1_999;
  const tokens = new Tokens(path, { nowMs: () => 0, unixMs: () => unixMs });
  const header = `Bearer ${text}`;
  t.strictSame(await tokens.callerOf(header, 'p'), { name: 'alice@ops', role: 'operate' });
  unixMs = 2_000;
  await t.rejects(tokens.callerOf(header, 'p'), { code: 'US_API_TOKEN', reason: /expired/ });
  t.ok(mayDo('admin', 'operate') && mayDo('read', 'read') && !mayDo('operate', 'admin'));
});

test('only two tokens are hashed at a time, whoever asks', async (t) => {
  const path = join(folder(t), 'tokens.json');
  writeTokenFile(path, []);
  const tokens = new Tokens(path, { nowMs: () => 0, unixMs: () => 0 });
  const guess = (peer: number) =>
    tokens.callerOf(`Bearer us1.${'0'.repeat(12)}.${'A'.repeat(43)}`, `p${peer}`);
  const ended = await Promise.allSettled(Array.from({ length: 200 }, (_, peer) => guess(peer)));
  const codes = ended.map((one) => (one.status === 'rejected' ? one.reason.code : 'let in'));
  t.equal(codes.filter((code) => code === 'US_API_TOKEN').length, 2);
  t.equal(codes.filter((code) => code === 'US_API_BUSY').length, 198);
});

test('a file that is broken or not ours alone is refused whole, and written whole', (t) => {
  const path = join(folder(t), 'tokens.json');
  t.throws(() => readTokenFile(path), { code: 'US_API_TOKENS' });
  for (const text of ['', '{', '[]', '{"tokens":[{}]}', '{"tokens":[],"more":1}']) {
    writeFileSync(path, text, { mode: 0o600 });
    t.throws(() => readTokenFile(path), { code: 'US_API_TOKENS' }, text);
  }
  t.throws(() => writeTokenFile(join(path, 'below'), []), { code: 'US_API_TOKENS' });
  t.strictSame(readdirSync(join(path, '..')), ['tokens.json'], 'nothing is left beside it');
  t.end();
});

test('names of tokens can stand in a log', async (t) => {
  for (const name of ['', 'Alice', 'a b', 'a\nb', '-a', 'x'.repeat(65), '../a'])
    await t.rejects(makeToken({ name, role: 'read', ...times }), { code: 'US_TOKEN_NAME' }, name);
});

test('buckets fill up again, and are bounded in number', (t) => {
  let nowMs = 0;
  const buckets = new Buckets({ burst: 2, everyMs: 100, nowMs: () => nowMs });
  t.strictSame(
    [1, 2, 3].map(() => buckets.take('a')),
    [true, true, false],
  );
  t.ok(buckets.take('b'), 'each has its own');
  nowMs = 100;
  t.strictSame(
    [1, 2].map(() => buckets.take('a')),
    [true, false],
  );
  nowMs = 10_000;
  t.equal(buckets.left('a'), 2);
  for (let index = 0; index < 5_000; index++) buckets.take(`k${index}`);
  t.equal(buckets.size, 1_024);
  t.end();
});

test('whom an address counts as', (t) => {
  t.strictSame(
    [
      '10.0.0.1',
      '::ffff:10.0.0.1',
      '2001:db8:1:2:3:4:5:6',
      '2001:db8:1:2::9',
      '::1',
      undefined,
    ].map(peerOf),
    ['10.0.0.1', '10.0.0.1', '2001:db8:1:2', '2001:db8:1:2', '0:0:0:0', '?'],
  );
  t.end();
});
