import type { Test } from 'tap';
import { UnderstudyError } from '../../src/errors.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import {
  clearReservation,
  holdsReservation,
  type ReservationOrder,
  takeReservation,
} from '../../src/storage/reservation.js';
import { reservationKey } from '../../src/storage/reservation-key.js';

/** What the fence by reservations has to do on any target that has them. */
export interface ReservationTarget {
  readonly portal: string;
  readonly target: string;
  readonly lun: number;
  /** PREEMPT AND ABORT. */
  readonly aborts: boolean;
  /** A registration counts for every session of the name. */
  readonly byName: boolean;
}

const initiator = (host: string, epoch: number) => `iqn.2026-11.test:db.${host}.e${epoch}`;
const block = Buffer.alloc(512, 0x5a);

export async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (thrown: unknown) => (thrown instanceof UnderstudyError ? thrown.code : String(thrown)),
  );
}

export async function reservationCases(t: Test, world: ReservationTarget): Promise<void> {
  const { portal, target, lun } = world;
  const login = async (t: Test, name: string) => {
    const session = await IscsiSession.login([portal], target, name);
    t.teardown(() => session.close());
    return session;
  };
  const order = (host: string, epoch: number, dataPath?: string): ReservationOrder => ({
    ...{ cluster: 'test', host, epoch, lun, dataPath },
  });
  const write = (session: IscsiSession) => codeOf(session.write(lun, 8n, block, 512));
  const read = (session: IscsiSession) => codeOf(session.read(lun, 8n, 512, 512));

  await t.test('the owner writes, a stranger does not; a takeover turns it round', async (t) => {
    const a = await login(t, initiator('h1', 1));
    const b = await login(t, initiator('h2', 2));
    t.equal(await write(b), 'no error', 'nobody has reserved anything');
    const first = await takeReservation(a, order('h1', 1));
    t.same(first.preempted, []);
    t.ok(await holdsReservation(a, order('h1', 1)));
    t.equal(await write(a), 'no error');
    t.equal(await write(b), 'US_STORAGE_RESERVED');
    t.equal(await read(b), 'no error', 'to be looked at it need not be owned');

    const second = await takeReservation(b, order('h2', 2));
    t.same(second.preempted, [reservationKey({ cluster: 'test', host: 'h1', epoch: 1 })]);
    t.equal(second.aborted, world.aborts);
    t.equal(await write(b), 'no error');
    t.equal(await write(a), 'US_STORAGE_RESERVED');
    t.equal(await codeOf(takeReservation(a, order('h1', 1))), 'US_STORAGE_STALE_EPOCH');
    t.ok(await holdsReservation(b, order('h2', 2)), 'a late order changes nothing');
    t.same((await takeReservation(b, order('h2', 2))).preempted, [], 'once more is as good');
    t.equal(await write(b), 'no error');

    await clearReservation(b, order('h2', 2));
    t.equal(await write(a), 'no error', 'let go of in order');
  });

  await t.test('somebody else’s key is left alone', async (t) => {
    const a = await login(t, initiator('h1', 1));
    const stranger = await login(t, initiator('stranger', 0));
    const base = { type: 5, key: 0n } as const;
    await stranger.persistentReserve(lun, {
      ...{ ...base, action: 'register', serviceActionKey: 0xabcn },
    });
    t.equal(await codeOf(takeReservation(a, order('h1', 1))), 'US_STORAGE_RESERVED');
    t.same((await stranger.reservationKeys(lun)).keys, [0xabcn]);
    await stranger.persistentReserve(lun, {
      ...{ type: 5, action: 'register', key: 0xabcn, serviceActionKey: 0n },
    });
  });

  await t.test('a session of the holder’s own name is a stranger', async (t) => {
    const name = initiator('h1', 1);
    const holder = await login(t, name);
    const twin = await login(t, name);
    t.equal(await write(holder), 'no error');
    t.equal(await write(twin), 'no error', 'with no reservation both write');
    await takeReservation(holder, order('h1', 1));
    t.equal(await write(holder), 'no error');
    t.equal(await write(twin), 'US_STORAGE_RESERVED');
    await clearReservation(holder, order('h1', 1));
  });

  await t.test('hosts of one name cannot be told apart: so names are never shared', async (t) => {
    if (!world.byName) return;
    const shared = 'iqn.2026-11.test:shared';
    const old = await login(t, shared);
    const young = await login(t, shared);
    const asks = await login(t, `${shared}.a`);
    await takeReservation(asks, order('h1', 1, shared));
    t.equal(await write(old), 'no error');
    const next = await login(t, `${shared}.b`);
    t.equal(await codeOf(takeReservation(next, order('h2', 2, shared))), 'US_STORAGE_RESERVATION');
    t.equal(await write(young), 'no error', 'the new host would write');
    t.equal(await write(old), 'no error', 'and so would the old one');
    await clearReservation(asks, order('h1', 1));
  });

  await t.test('a data path of its own is another nexus', async (t) => {
    const name = initiator('h1', 1);
    const asks = await login(t, `${name}.fence`);
    const dataPath = await login(t, name);
    const both = takeReservation(asks, order('h1', 1, name));
    if (!world.byName) {
      t.equal(await codeOf(both), 'US_STORAGE_RESERVATION', 'which the target cannot cover');
      t.same((await asks.reservationKeys(lun)).keys, [], 'nothing is half done');
      await takeReservation(asks, order('h1', 1));
      t.equal(await write(dataPath), 'US_STORAGE_RESERVED', 'and does not');
      await clearReservation(asks, order('h1', 1));
      return;
    }
    t.same((await both).preempted, []);
    t.equal(await write(dataPath), 'no error', 'covered by its name');
    await asks.close();
    t.equal(await write(dataPath), 'no error', 'also when the one that asked has gone');
    const again = await login(t, name);
    t.equal(await write(again), 'no error', 'and after a new login');

    const other = initiator('h2', 2);
    const next = await login(t, `${other}.fence`);
    const nextPath = await login(t, other);
    const report = await takeReservation(next, order('h2', 2, other));
    t.equal(report.preempted.length, 1);
    t.equal(await write(nextPath), 'no error');
    t.equal(await write(dataPath), 'US_STORAGE_RESERVED', 'the old data path is out');
    t.equal(await write(again), 'US_STORAGE_RESERVED');
    const back = await login(t, name);
    t.equal(await write(back), 'US_STORAGE_RESERVED', 'and stays out when it logs in anew');
    const once = await login(t, `${other}.fence`);
    await takeReservation(once, order('h2', 2, other));
    t.equal(await write(nextPath), 'no error', 'once more is as good');
    await clearReservation(next, order('h2', 2));
  });
}
