import { test } from 'tap';
import { mayColour, widthOf } from '../../src/cli/colour.js';
import { Progress, progressText } from '../../src/cli/progress.js';
import { VirtualTimers } from '../store/virtual-timers.js';

function stand(isTTY: boolean) {
  const timers = new VirtualTimers();
  const written: string[] = [];
  const stream = { isTTY, write: (text: string) => written.push(text) };
  return { timers, written, progress: new Progress('waiting', stream, timers) };
}

test('what takes less than a second says nothing', async (t) => {
  for (const isTTY of [true, false]) {
    const { timers, written, progress } = stand(isTTY);
    progress.set(1, 3, 'web1');
    await timers.runMs(900);
    progress.end();
    await timers.runMs(5_000);
    t.same(written, []);
  }
});

test('a terminal gets a bar that moves and is gone at the end', async (t) => {
  const { timers, written, progress } = stand(true);
  progress.set(1, 4, 'web2 starting');
  await timers.runMs(1_000);
  progress.set(2, 4, 'web3 starting');
  progress.end();
  t.match(written[0], /^\r.*waiting █{6}░{18} 1\/4 {2}web2 starting$/);
  t.match(written[1], /█{12}░{12} 2\/4 {2}web3 starting$/);
  t.match(written[2], /^\r.\[K$/, 'the line is cleared');
  t.equal(written.length, 3);
});

test('elsewhere plain lines, when something changed, at most one a second', async (t) => {
  const { timers, written, progress } = stand(false);
  progress.set(1, 4, 'web2 starting');
  await timers.runMs(3_500);
  for (const done of [2, 3]) progress.set(done, 4, '');
  await timers.runMs(1_000);
  progress.end();
  t.same(written, ['waiting 1/4  web2 starting\n', 'waiting 3/4\n']);
  t.equal(progressText('looking', undefined, true), 'looking …');
});

test('colours on a terminal only, and not where NO_COLOR is set', (t) => {
  t.ok(mayColour({ isTTY: true }, { TERM: 'xterm' }));
  t.notOk(mayColour({}, { TERM: 'xterm' }), 'a pipe');
  t.notOk(mayColour({ isTTY: true }, { TERM: 'xterm', NO_COLOR: '1' }));
  t.ok(
    mayColour({ isTTY: true }, { NO_COLOR: '' }),
    'set but empty counts as not set (no-color.org)',
  );
  t.notOk(mayColour({ isTTY: true }, { TERM: 'dumb' }));
  t.equal(widthOf('\x1b[31mdown\x1b[39m'), 4, 'columns line up all the same');
  t.end();
});
