import { test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { codeOf, freshTarget, storageIn } from './attached.js';
import { attachSpec, startLunServer } from './lun-server.js';

const never = new AbortController().signal;

/** Where it does work is test/uml/lio-takeover.ts. */
test('tgt, which registers single sessions, is fenced by its mask alone', async (t) => {
  const server = await startLunServer(t);
  const { name } = freshTarget(server);
  const storage = await storageIn(t, `${server.directory}/h1`);
  const spec = attachSpec(server, { target: name, fence: 'reservation' });
  t.equal(await codeOf(storage.fence(spec, never)), 'US_STORAGE_RESERVATION');
  t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_RESERVATION', 'nothing is read');
  const session = await IscsiSession.login([server.portal], name, 'iqn.2026-11.test:looks-on');
  t.teardown(() => session.close());
  t.same((await session.reservationKeys(spec.targetLun)).keys, [], 'nobody is left registered');
});
