import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';

/** The kernel's iSCSI initiator, in a guest whose kernel has it. */
const log = '/run/iscsiadm.log';
const shim = '/usr/local/sbin/iscsiadm';

/**
 * iscsid, and a note of whatever iscsiadm is told.
 *
 * @param noted false where time is taken: who notes is one program more
 */
export function startInitiator(t: Pick<Test, 'teardown'>, { noted = true } = {}): void {
  if (!existsSync('/etc/iscsi/initiatorname.iscsi')) {
    writeFileSync('/etc/iscsi/initiatorname.iscsi', 'InitiatorName=iqn.2026-11.test:guest\n');
  }
  if (noted) {
    writeFileSync(log, '');
    writeFileSync(shim, `#!/bin/sh\necho "$*" >> ${log}\nexec /usr/sbin/iscsiadm "$@"\n`);
    chmodSync(shim, 0o755);
  }
  execFileSync('iscsid');
  t.teardown(() => execFileSync('sh', ['-c', 'kill "$(cat /run/iscsid.pid)" 2>/dev/null || :']));
}

/** Arguments of every iscsiadm so far. */
export function initiatorLog(): string {
  return readFileSync(log, 'utf8');
}
