import { createHash } from 'node:crypto';
import { test } from 'tap';
import { digestOf, type Entry, faultsOf, parseLog, payloadOf } from './content.js';

const entry = (seq: number): Entry => ({ client: 1, seq, digest: digestOf(payloadOf(1, seq)) });
const acknowledged = (last: number) => new Map([[1, last]]);

test('what was acknowledged is there, and at most the one that was under way', async (t) => {
  t.same(faultsOf([entry(1), entry(2)], acknowledged(2)), []);
  t.same(faultsOf([entry(2), entry(1), entry(3)], acknowledged(2)), []);
});

test('what is lost, twice there, changed or made up is told', async (t) => {
  t.match(faultsOf([entry(1), entry(3)], acknowledged(3)), [
    /1 of 3 acknowledged are lost, first 2/,
  ]);
  t.match(faultsOf([], acknowledged(2)), [/2 of 2 acknowledged are lost/]);
  t.match(faultsOf([entry(1), entry(1)], acknowledged(1)), [/twice/]);
  t.match(faultsOf([{ ...entry(1), digest: digestOf(`${payloadOf(1, 1)}x`) }], acknowledged(1)), [
    /other content/,
  ]);
  t.match(faultsOf([entry(1), entry(2), entry(3)], acknowledged(1)), [/3 was never sent/]);
});

test('a torn record of the log counts for nothing, and does not hide the next', async (t) => {
  const record = (seq: number) => {
    const text = `${seq} 1 ${payloadOf(1, seq)}`;
    return `${createHash('sha256').update(text).digest('hex')} ${text}\n`;
  };
  const torn = record(2).slice(0, 90);
  t.same(parseLog(`${record(1)}${torn}${record(2)}`), [entry(1), entry(2)]);
  t.same(parseLog(`${record(1)}${torn}`), [entry(1)]);
  t.same(parseLog(record(1).replace(/.\n/, 'x\n')), []);
});
