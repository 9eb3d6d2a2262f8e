import { test } from 'tap';
import { UnderstudyError } from '../src/errors.js';

test('an error shows code, action, object, cause and what to do', (t) => {
  const error = new UnderstudyError({
    code: 'US_STORAGE_IDENTITY',
    action: 'cannot attach volume',
    object: 'web1-data to web1 on h4',
    cause: 'serial differs',
    remedy: 'check the map on the target',
  });
  t.equal(
    error.toText(),
    'US_STORAGE_IDENTITY: cannot attach volume web1-data to web1 on h4\n' +
      '  cause: serial differs\n' +
      '  do:    check the map on the target',
  );
  t.equal(error.toJSON().do, 'check the map on the target');
  t.end();
});
