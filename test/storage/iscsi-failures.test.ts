import { test } from 'tap';
import { IscsiError, noReason } from '../../src/ffi/iscsi.js';
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

test('an answer of LIO that libiscsi cannot read is told as what it is', async (t) => {
  const of = (text: string, user?: string) => {
    const chap = user === undefined ? undefined : { user: 'host', mutual: { user, secret: 's' } };
    const thrown = new IscsiError('transport', text);
    return loginFailure(thrown, ['192.0.2.1:3260'], 'iqn.t', 'iqn.me', 2_000, chap);
  };
  t.match(of(noReason, 'san'), { code: 'US_STORAGE_CHAP', remedy: /name of 11 characters/ });
  t.match(of('NUL not found after offset 53 when parsing login data', 'san'), {
    code: 'US_STORAGE_CHAP',
  });
  t.match(of(noReason, 'storage-of-web1'), { code: 'US_STORAGE_CHAP', remedy: /restarted/ });
  t.match(of(noReason), { code: 'US_STORAGE_UNREACHABLE' }, 'no proof was asked for');
  t.match(of('connection refused', 'san'), { code: 'US_STORAGE_UNREACHABLE' });
});
