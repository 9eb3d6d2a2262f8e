import { test } from 'tap';
import { conforms, resultsOf } from './conformance.js';
import { startLunServer } from './lun-server.js';

const released = /UNIT_ATTENTION.*0x2a04/;

test('libiscsi’s reservation cases on tgt', async (t) => {
  const server = await startLunServer(t, 3280);
  const families = ['PrinReadKeys', 'PrinServiceactionRange', 'PrinReportCapabilities'];
  const out = ['ProutRegister', 'ProutReserve', 'ProutClear', 'ProutPreempt'];
  await conforms(t, server, [...families, ...out], {
    'PrinServiceactionRange.Range': /PRIN\/SA=0x3 failed.*INVALID_FIELD_IN_CDB/,
    'ProutReserve.OwnershipEA': released,
    'ProutReserve.OwnershipWE': released,
    'ProutReserve.OwnershipEARO': released,
    'ProutReserve.OwnershipWERO': released,
  });
});

test('what iscsi-test-cu says', async (t) => {
  const said = `Suite: x
  Test: Simple ...
    [OK] fine
passed
  Test: Range ...
    [OK] fine
    [FAILED] no
FAILED
`;
  t.same(
    [...resultsOf(said)],
    [
      ['Simple', ''],
      ['Range', '[FAILED] no'],
    ],
  );
});
