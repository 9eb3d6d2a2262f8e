import { test } from 'tap';
import { isRefused } from '../../src/demo/stage.js';

test('a login is refused when the target said so, not when it was never asked', async (t) => {
  const after = (code: number, stderr: string) =>
    isRefused(
      { lab: { exec: async () => ({ code, stdout: '', stderr }) } },
      'h1',
      'iqn.x:i',
      'url',
    );
  t.equal(
    await after(1, 'Login Failed. Failed to log in to target. Status: Target not found(515)'),
    true,
  );
  t.equal(
    await after(
      10,
      'Login Failed. iscsi_service failed with : iscsi_service_reconnect_if_loggedin',
    ),
    false,
    'there was no target',
  );
  t.equal(await after(0, ''), false, 'it was let in');
  t.equal(await after(127, 'iscsi-inq: command not found'), false);
  t.equal(await after(125, 'the machine does not answer within 30000 ms'), false);
});
