import { test } from 'tap';
import { electorateOf, electorsOf, isQuorum } from '../../src/control/electorate.js';

const of = (...names: readonly string[]) => {
  return (name: string) => names.includes(name);
};

test('a quorum is a majority of each set, and nobody is one of no set', (t) => {
  const [old, next] = [
    ['h1', 'h2', 'h3'],
    ['h3', 'h4', 'h5'],
  ];
  t.equal(isQuorum([old], of('h1', 'h2')), true);
  t.equal(isQuorum([old], of('h1')), false);
  t.equal(isQuorum([old, next], of('h1', 'h2')), false, 'of the old alone');
  t.equal(isQuorum([old, next], of('h2', 'h3', 'h4')), true, 'h3 counts in both');
  t.equal(isQuorum([], of('h1', 'h2', 'h3')), false);
  t.equal(isQuorum([[]], of('h1')), false);
  const joint = { config: { controllers: next }, controllers: { set: 1, since: 0, from: old } };
  t.same(electorateOf(joint), { set: 1, sets: [old, next] });
  t.same(electorsOf(electorateOf(joint)), ['h1', 'h2', 'h3', 'h4', 'h5']);
  t.end();
});
