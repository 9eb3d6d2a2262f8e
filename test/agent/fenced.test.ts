import { test } from 'tap';
import { fence, keepFence } from '../../src/agent/fenced.js';
import { PersonalityWork } from '../../src/agent/personality-work.js';
import { allocationKey, maskKey } from '../../src/control/keys.js';
import { UnderstudyError } from '../../src/errors.js';
import { keyText, reservationKey } from '../../src/storage/reservation-key.js';
import type { AttachedVolume, AttachSpec, Reserved } from '../../src/storage/types.js';
import type { Timers } from '../../src/store/timers.js';
import { clusterConfig } from '../control/world.js';
import { IdleStorage } from './idle-adapters.js';
import { roleHost } from './role-host.js';

const never = new AbortController().signal;

function volume(name: string, fence: AttachSpec['fence']): AttachSpec {
  return {
    ...{ cluster: 'shop', personality: 'web1', host: 'h1', epoch: 3, lun: 0, volume: name },
    ...{ portals: ['192.0.2.1:3260'], target: `iqn.2026-11.test:${name}`, targetLun: 1 },
    ...{ filesystem: 'ext4', format: 'never', recordedSerial: undefined, fence },
  };
}

function failure(code: `US_${string}`): UnderstudyError {
  return new UnderstudyError({ code, action: 'a', object: 'b', cause: 'c', remedy: 'd' });
}

class Reserving extends IdleStorage {
  readonly asked: string[] = [];
  answer: (signal?: AbortSignal) => Reserved | Promise<Reserved> = () => ({
    key: '0x3',
    preempted: ['0x2'],
  });

  override async fence({ volume }: AttachSpec, signal?: AbortSignal): Promise<Reserved> {
    this.asked.push(volume);
    return this.answer(signal);
  }
}

test('each volume is fenced in the way that the file names', async (t) => {
  const { parts, put, end } = await roleHost({});
  t.teardown(end);
  const storage = new Reserving();
  const masked = volume('a', undefined);
  const fencing = fence(
    'web1',
    3,
    [masked, volume('b', 'reservation')],
    { ...parts, storage },
    never,
  );
  const mask = { personality: 'web1', host: 'h1', epoch: 3 };
  await put(maskKey(masked.target), mask);
  t.equal(await fencing, 'the target lets in nobody else; b is reserved by 0x3, 0x2 out');
  t.same(storage.asked, ['b']);
});

test('a reservation that is not to be had is no fence', async (t) => {
  const { parts, end } = await roleHost({});
  t.teardown(end);
  const storage = new Reserving();
  storage.answer = () => {
    throw failure('US_STORAGE_STALE_EPOCH');
  };
  const fencing = fence('web1', 3, [volume('b', 'reservation')], { ...parts, storage }, never);
  await t.rejects(fencing, { code: 'US_STORAGE_STALE_EPOCH' });
});

test('a volume in use is looked after; that its target is away changes nothing', async (t) => {
  const { parts, end } = await roleHost({});
  t.teardown(end);
  const storage = new Reserving();
  const keep = () =>
    keepFence([volume('a', 'mask'), volume('b', 'reservation')], { ...parts, storage }, never);
  await keep();
  t.same(storage.asked, ['b']);
  storage.answer = () => {
    throw failure('US_STORAGE_UNREACHABLE');
  };
  await keep();
  storage.answer = async (signal) => {
    await new Promise((_, reject) =>
      signal?.addEventListener('abort', () => reject(signal.reason)),
    );
    throw new Error('not reached');
  };
  const timers: Timers = {
    ...parts.timers,
    after: (_, job) => {
      const soon = setImmediate(job);
      return () => clearImmediate(soon);
    },
  };
  await keepFence([volume('b', 'reservation')], { ...parts, storage, timers }, never);
  storage.answer = () => {
    throw failure('US_STORAGE_RESERVED');
  };
  await t.rejects(keep(), { code: 'US_STORAGE_RESERVED' });
});

test('a takeover reads nothing before the fence; a volume in use is looked at before it is repaired', async (t) => {
  const base = clusterConfig();
  const { parts, put, end } = await roleHost({
    config: {
      ...base,
      volumes: [
        {
          ...{ name: 'b', portals: ['192.0.2.1:3260'], target: 'iqn.2026-11.test:b', lun: 1 },
          ...{ filesystem: 'ext4', format: 'never', fence: 'reservation' },
        },
      ],
      personalities: base.personalities.map((one) =>
        one.name === 'web1' ? { ...one, storage: [{ lun: 0, volume: 'b', mount: '/srv' }] } : one,
      ),
    },
  });
  t.teardown(end);
  await put(allocationKey, { macs: { 'web1/0': '02:00:00:00:00:11' }, seeds: {} });
  const steps: string[] = [];
  class Recording extends IdleStorage {
    override async fence({ epoch }: AttachSpec): Promise<Reserved> {
      steps.push(`fence ${epoch}`);
      return { key: '0x1', preempted: [] };
    }
    override async attach({ epoch, fence }: AttachSpec): Promise<AttachedVolume> {
      steps.push(`attach ${epoch} ${fence}`);
      return {
        ...{ personality: 'web1', lun: 0, volume: 'b', epoch, device: '/dev/loop0' },
        ...{ hostMount: '/run/b', serial: 's', sizeBytes: 1 },
      };
    }
  }
  const work = new PersonalityWork('web1', { ...parts, storage: new Recording() });
  await work.take(3, 1, null, never);
  t.same(steps, ['fence 3', 'attach 3 reservation']);
  t.equal(
    work.volumes[0]?.reservation,
    keyText(reservationKey({ cluster: base.cluster, host: 'h1', epoch: 3 })),
  );
  await work.take(3, 1, null, never);
  t.same(steps.slice(2), ['fence 3', 'attach 3 reservation']);
});
