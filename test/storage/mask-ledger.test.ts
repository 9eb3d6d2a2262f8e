import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { MaskLedger } from '../../src/storage/mask-ledger.js';
import { initiatorName, type MaskOrder } from '../../src/storage/types.js';

const target = 'iqn.t:a';
function order(epoch: number, host: string): MaskOrder {
  const initiator = initiatorName('test', 'web1', host, epoch);
  return { target, personality: 'web1', generation: 1, epoch, initiator };
}

test('what is admitted while others still read the file stays admitted', async (t) => {
  const file = join(t.testdir(), 'epochs.json');
  for (let round = 0; round < 20; round++) {
    writeFileSync(file, JSON.stringify({ version: 1, targets: {} }));
    const ledger = new MaskLedger(file);
    const admitted = ledger.admit(order(5, 'h4'));
    await Promise.all([admitted, ledger.targets(), ledger.targets()]);
    await (await admitted).written;
    await t.rejects(ledger.admit(order(4, 'h1')), { code: 'US_STORAGE_STALE_EPOCH' });
    const next = new MaskLedger(file);
    await t.rejects(next.admit(order(4, 'h1')), { code: 'US_STORAGE_STALE_EPOCH' }, 'on disk too');
  }
});

test('what cannot be written is told to whoever waits for it, and written by the next order', async (t) => {
  const folder = join(t.testdir({ taken: '' }), 'taken');
  const file = join(folder, 'epochs.json');
  const ledger = new MaskLedger(file);
  await t.rejects(
    ledger.admit(order(5, 'h4')),
    { code: 'US_STORAGE_LEDGER' },
    'nor can it be read',
  );
  rmSync(folder);
  mkdirSync(file, { recursive: true });
  await t.rejects(ledger.admit(order(5, 'h4')), { code: 'US_STORAGE_LEDGER' });
  rmSync(folder, { recursive: true });
  const { written } = await ledger.admit(order(5, 'h4'));
  await written;
  obstruct(folder);
  const failing = await ledger.admit(order(6, 'h1'));
  await t.rejects(failing.written, { code: 'US_STORAGE_LEDGER' });
  rmSync(`${file}.new`, { recursive: true });
  await (await ledger.admit(order(6, 'h1'))).written;
  const next = new MaskLedger(file);
  await t.rejects(next.admit(order(5, 'h4')), { code: 'US_STORAGE_STALE_EPOCH' }, 'it is on disk');
});

/** Root may write anywhere: so a folder takes the place of the file that is written first. */
function obstruct(folder: string): void {
  mkdirSync(join(folder, 'epochs.json.new'));
}
