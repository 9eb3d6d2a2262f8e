import { test } from 'tap';
import { kinds } from '../databases/kinds.js';
import { cutPower } from '../databases/power-cuts.js';

/** `npm run test:storage` does the same 200 times. */
test('databases lose nothing that they acknowledged when their host loses power', async (t) => {
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const result = await cutPower({
    kills: 2,
    kinds,
    filesystem: 'ext4',
    seed: 1,
    signal: stop.signal,
    say: (line) => t.comment(line),
  });
  t.equal(result.cuts, 2);
  t.same(result.faults, [], 'all is there, file systems and databases are whole');
  for (const { name } of kinds) {
    t.ok((result.acknowledged[name] ?? 0) > 0, `${name} acknowledged ${result.acknowledged[name]}`);
  }
});
