import { setTimeout as pause } from 'node:timers/promises';
import tap, { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { openSystemdLab, runsAs, systemdMissing } from '../units/harness.js';

const missing = systemdMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(200_000);

/**
 * Not among the fast tests, since it takes a lab of its own: that what the host carried is taken over
 * complete is in test/units/systemd.test.ts; here the host has to be off, too.
 */
test('power off in good order takes no time-out, and is taken over', options, async (t) => {
  const world = await openSystemdLab(t, 'power-off');
  const { stage, lab, shell } = world;
  const before = personality(await stage.status(), 'web-1');
  const host = before.host ?? '';
  await shell(host, 'systemctl poweroff');
  t.not(await runsAs(world, before.epoch + 1), host);
  // Below the time-out of a unit that does not stop.
  const endMs = performance.now() + 20_000;
  while (lab.pidOf(host) !== undefined && performance.now() < endMs) await pause(50);
  t.equal(lab.pidOf(host), undefined, 'it is off');
});
