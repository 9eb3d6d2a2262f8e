import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import type { Test } from 'tap';
import { until } from '../storage/lun-server.js';

/** The kernel's iSCSI initiator, in a guest whose kernel has it. */
const log = '/run/iscsiadm.log';
const shim = '/usr/local/sbin/iscsiadm';

/**
 * iscsid, and a note of whatever iscsiadm is told.
 *
 * @param noted false where time is taken: who notes is one program more
 */
export function startInitiator(t: Pick<Test, 'teardown'>, { noted = true } = {}): void {
  nameInitiator();
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

/** iscsid, and each line of what it logs. */
export async function startTalkingInitiator(t: Pick<Test, 'teardown'>): Promise<Interface> {
  nameInitiator();
  // Detached: when it ends it ends its whole process group.
  const iscsid = spawn('iscsid', ['--foreground'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => iscsid.kill());
  await until(() =>
    readFileSync('/proc/net/unix', 'utf8').includes('@ISCSIADM_ABSTRACT_NAMESPACE'),
  );
  return createInterface({ input: iscsid.stderr });
}

function nameInitiator(): void {
  const file = '/etc/iscsi/initiatorname.iscsi';
  if (!existsSync(file)) writeFileSync(file, 'InitiatorName=iqn.2026-11.test:guest\n');
}
