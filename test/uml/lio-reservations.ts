import { test } from 'tap';
import { reservationCases } from '../storage/reservation-cases.js';
import { enforceIsids, lioPortal, lioTarget, startLio } from './lio.js';

/** Run in a guest whose kernel has LIO: the compliance suite of reservations against it. */
test('reservations on LIO', async (t) => {
  startLio();
  const world = { portal: lioPortal, target: lioTarget, lun: 0, aborts: true };
  await t.test('as it is', (t) => reservationCases(t, { ...world, byName: false }));
  enforceIsids(false);
  await t.test('by name', (t) => reservationCases(t, { ...world, byName: true }));
});
