import { test } from 'tap';
import { claiming } from '../../src/doctor/multipathd.js';

test('how multipathd claims disks', (t) => {
  t.equal(claiming(''), undefined, 'Debian has strict');
  t.equal(claiming('defaults {\n  find_multipaths strict\n}'), undefined);
  t.equal(claiming('defaults {\n  find_multipaths "yes"\n}'), 'find_multipaths yes');
  t.equal(claiming('# find_multipaths yes'), undefined, 'a comment');
  t.equal(
    claiming('find_multipaths strict\nfind_multipaths greedy'),
    'find_multipaths greedy',
    'the last counts',
  );
  t.end();
});
