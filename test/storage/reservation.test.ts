import { test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { holdsReservation, takeReservation } from '../../src/storage/reservation.js';
import { epochOf, reservationKey } from '../../src/storage/reservation-key.js';
import { startLunServer } from './lun-server.js';
import { codeOf, reservationCases } from './reservation-cases.js';

const block = Buffer.alloc(512, 0x5a);

test('a key tells cluster, host and epoch', async (t) => {
  const key = reservationKey({ cluster: 'test', host: 'h1', epoch: 7 });
  t.equal(epochOf(key, 'test'), 7);
  t.equal(epochOf(key, 'other'), undefined);
  t.not(key, reservationKey({ cluster: 'test', host: 'h2', epoch: 7 }));
  t.equal(
    epochOf(reservationKey({ cluster: 'c', host: 'h', epoch: 0xffff_ffff }), 'c'),
    0xffff_ffff,
  );
  t.ok(reservationKey({ cluster: '', host: '', epoch: 0 }) > 0n);
});

test('reservations on tgt, by the session that writes', async (t) => {
  const server = await startLunServer(t);
  const target = 'iqn.2026-11.test:reserved';
  server.addTarget({ tid: 1, name: target });
  const world = { portal: server.portal, target, lun: 1, aborts: false, byName: false };
  await reservationCases(t, world);

  const order = { cluster: 'test', host: 'h1', epoch: 5, lun: 1 };
  const login = () => IscsiSession.login([server.portal], target, 'iqn.2026-11.test:db.h1.e5');

  await t.test('a session that logs in anew has to take it anew', async (t) => {
    const before = await login();
    await takeReservation(before, order);
    await before.close();
    const after = await login();
    t.teardown(() => after.close());
    t.equal(
      await codeOf(after.write(1, 8n, block, 512)),
      'US_STORAGE_RESERVED',
      'tgt knows sessions, not names',
    );
    t.same((await takeReservation(after, order)).preempted, []);
    t.equal(await codeOf(after.write(1, 8n, block, 512)), 'no error');
  });

  await t.test('two hosts of one name would both write: names are never shared', async (t) => {
    const free = 'iqn.2026-11.test:free';
    server.addTarget({ tid: 2, name: free });
    const same = () => IscsiSession.login([server.portal], free, 'iqn.2026-11.test:same');
    const [one, two] = [await same(), await same()];
    t.equal(await codeOf(one.write(1, 8n, block, 512)), 'no error');
    t.equal(await codeOf(two.write(1, 8n, block, 512)), 'no error');
    t.equal(await codeOf(one.write(1, 8n, block, 512)), 'no error', 'the later login ends nothing');
    await one.close();
    await two.close();
  });
});

test('a target that was restarted has forgotten, which is noticed and made good', async (t) => {
  const target = 'iqn.2026-11.test:restarted';
  const order = { cluster: 'test', host: 'h1', epoch: 1, lun: 1 };
  const name = 'iqn.2026-11.test:db.h1.e1';
  for (const [life, port] of [3270, 3271].entries()) {
    const server = await startLunServer(t, port);
    server.addTarget({ tid: 1, name: target });
    const session = await IscsiSession.login([server.portal], target, name);
    t.teardown(() => session.close());
    t.equal(await holdsReservation(session, order), false, `life ${life + 1}: nothing is known`);
    await takeReservation(session, order);
    t.equal(await holdsReservation(session, order), true);
    t.equal(await codeOf(session.write(1, 8n, block, 512)), 'no error');
  }
});
