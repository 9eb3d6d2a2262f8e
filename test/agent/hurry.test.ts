import { test } from 'tap';
import { Hurry } from '../../src/agent/hurry.js';
import { VirtualTimers } from '../store/virtual-timers.js';
import { quiet } from './stage.js';

test('several hurries are one, and it ends with the last', (t) => {
  const asked: boolean[] = [];
  const hurry = new Hurry({ log: quiet, timers: new VirtualTimers() }, (yes) => asked.push(yes));
  const one = hurry.begin();
  const other = hurry.begin();
  one();
  one();
  t.same(asked, [true]);
  other();
  t.same(asked, [true, false]);
  hurry.begin()();
  t.same(asked, [true, false, true, false]);
  t.end();
});

test('what hangs is in no hurry any more', async (t) => {
  const asked: boolean[] = [];
  const timers = new VirtualTimers();
  const hurry = new Hurry({ log: quiet, timers }, (yes) => asked.push(yes));
  const end = hurry.begin();
  await timers.runMs(499);
  t.same(asked, [true]);
  await timers.runMs(1);
  t.same(asked, [true, false]);
  end();
  t.same(asked, [true, false]);
});

test('where it is refused, that is said once and the work goes on', (t) => {
  const said: string[] = [];
  const log = { ...quiet, warn: (_: object, text: string) => said.push(text) };
  const hurry = new Hurry({ log, timers: new VirtualTimers() }, () => {
    throw new Error('EACCES');
  });
  hurry.begin()();
  hurry.begin()();
  t.equal(said.length, 1);
  t.end();
});
