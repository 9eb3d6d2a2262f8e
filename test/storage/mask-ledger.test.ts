import { writeFileSync } from 'node:fs';
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
    await Promise.all([ledger.admit(order(5, 'h4')), ledger.targets(), ledger.targets()]);
    await t.rejects(ledger.admit(order(4, 'h1')), { code: 'US_STORAGE_STALE_EPOCH' });
    const next = new MaskLedger(file);
    await t.rejects(next.admit(order(4, 'h1')), { code: 'US_STORAGE_STALE_EPOCH' }, 'on disk too');
  }
});
