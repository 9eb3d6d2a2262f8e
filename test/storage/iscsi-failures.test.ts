import { test } from 'tap';
import { IscsiError } from '../../src/ffi/iscsi.js';
import { loginFailure } from '../../src/storage/iscsi-failures.js';

const failure = (text: string, kind: IscsiError['kind'] = 'refused') =>
  loginFailure(new IscsiError(kind, text), ['192.0.2.1:3260'], 'iqn.t', 'iqn.me', 2_000);

test('each way a login can be refused has a code of its own', async (t) => {
  const status = (number: number) => `Failed to log in to target. Status: words(${number})`;
  const expected: readonly [number, string][] = [
    [0x0201, 'US_STORAGE_CHAP'],
    [0x0202, 'US_STORAGE_TARGET_NOT_FOUND'],
    [0x0203, 'US_STORAGE_TARGET_NOT_FOUND'],
    [0x0206, 'US_STORAGE_TARGET_FULL'],
    [0x0302, 'US_STORAGE_TARGET_FULL'],
    [0x0301, 'US_STORAGE_TARGET_NOT_FOUND'],
    [0x0300, 'US_STORAGE_LOGIN'],
  ];
  for (const [number, code] of expected) t.match(failure(status(number)), { code }, code);
  t.match(failure('connection refused', 'transport'), { code: 'US_STORAGE_UNREACHABLE' });
  t.match(failure('Authentication failed. Invalid CHAP response', 'transport'), {
    code: 'US_STORAGE_CHAP',
  });
});
