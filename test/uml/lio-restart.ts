import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import tap, { type Test, test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { keyText, reservationKey } from '../../src/storage/reservation-key.js';
import { type AttachSpec, initiatorName } from '../../src/storage/types.js';
import { codeOf, storageIn } from '../storage/attached.js';
import { IscsiProxy } from '../storage/iscsi-proxy.js';
import { enforceIsids, lioPersists, lioPort, lioTarget, restartLio, startLio } from './lio.js';

/** Run in a guest whose kernel has LIO: its configuration is torn down and set up again under a volume. */
tap.setTimeout(200_000);
const never = new AbortController().signal;
const cluster = 'test';
const portal = '127.0.0.1:3261';
const nameOf = (host: string, epoch: number) => initiatorName(cluster, 'db', host, epoch);
const keyOf = (host: string, epoch: number) => keyText(reservationKey({ cluster, host, epoch }));

function volumeOf(host: string, epoch: number): AttachSpec {
  return {
    ...{ cluster, personality: 'db', host, epoch, lun: 0, volume: 'db-data' },
    ...{ portals: [portal], target: lioTarget, targetLun: 0 },
    ...{ filesystem: 'ext4', format: 'if-blank', recordedSerial: undefined, fence: 'reservation' },
  };
}

test('LIO is restarted under a volume that only its reservation fences', async (t) => {
  startLio();
  enforceIsids(false);
  const proxy = await IscsiProxy.start(t, { port: 3261, targetPort: lioPort });
  const storage = await storageIn(t, '/run/h2');
  await storage.fence(volumeOf('h1', 1), never);
  const volume = volumeOf('h2', 2);
  t.same((await storage.fence(volume, never)).preempted, [keyOf('h1', 1)]);
  const { hostMount } = await storage.attach(volume, never);
  await writeFile(`${hostMount}/note`, 'from before', { flush: true });

  /** What a workload does meanwhile. @returns whether it was written in the end */
  const restart = async (file: string, kept: string | undefined) => {
    await proxy.cut();
    t.equal(await codeOf(storage.fence(volume, never)), 'US_STORAGE_UNREACHABLE');
    const writing = writeFile(`${hostMount}/${file}`, 'from meanwhile', { flush: true }).then(
      () => true,
      () => false,
    );
    restartLio(kept);
    await proxy.restore();
    return writing;
  };

  await t.test('and handed what it had written: the data path goes on', async (t) => {
    const before = diskProcess();
    const writing = restart('kept', lioPersists());
    t.ok(await writing, 'what waited is written');
    t.same(await storage.fence(volume, never), { key: keyOf('h2', 2), preempted: [] });
    t.equal(diskProcess(), before, 'by the same data path');
    t.equal(readFileSync(`${hostMount}/kept`, 'utf8'), 'from meanwhile');
    await keepsOut(t);
  });

  await t.test('and has forgotten: fenced and attached anew', async (t) => {
    const before = diskProcess();
    await restart('forgotten', undefined);
    const looks = await logIn(t, 'iqn.2026-11.test:looks-on');
    t.same((await looks.reservationKeys(0)).keys, [], 'nobody is registered');
    t.same(await storage.fence(volume, never), { key: keyOf('h2', 2), preempted: [] });
    t.same(await storage.observe(never), [], 'the data path has ended before it was registered');
    const again = await storage.attach(volume, never);
    t.not(diskProcess(), before);
    t.equal(readFileSync(`${again.hostMount}/note`, 'utf8'), 'from before');
    await keepsOut(t);
    t.match(lioPersists(), new RegExp(`sa_res_key=${BigInt(keyOf('h2', 2))}`));
    await writeFile(`${again.hostMount}/note`, 'from after', { flush: true });
  });
});

async function keepsOut(t: Test): Promise<void> {
  const old = await logIn(t, nameOf('h1', 1));
  const late = old.write(0, 8n, Buffer.alloc(512), 512);
  t.equal(await codeOf(late), 'US_STORAGE_RESERVED', 'the earlier owner is kept out');
}

async function logIn(t: Test, name: string): Promise<IscsiSession> {
  const session = await IscsiSession.login([portal], lioTarget, name);
  t.teardown(() => session.close());
  return session;
}

function diskProcess(): number {
  return Number(readFileSync('/run/h2/blk/db/0/qsd.pid', 'utf8'));
}
