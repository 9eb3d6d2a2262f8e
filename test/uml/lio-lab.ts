import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Timeline } from '../../src/control/timeline.js';
import { Claims } from '../../src/demo/claims.js';
import { openStage } from '../../src/demo/open-stage.js';
import { must, personality } from '../../src/demo/stage.js';
import { understudy } from '../lab/harness.js';
import { parsed } from '../lab/nodes.js';

/**
 * Runs in a guest: a lab of real agents on LIO, fenced by the way that is named. Its host loses power while a
 * writer syncs each line; what was acknowledged has to be there after the takeover. Prints one line for
 * each thing seen; exit code 0 when all was.
 */
const [fence = 'mask'] = process.argv.slice(2);
const target = 'iqn.2026-11.example.lab:db';
// A guest has one processor, and starts a process in 20 ms.
const file = `
cluster: onlio
controllers: [h1, h2, h3]
timing: {heartbeat: 500ms, lease: 2s}
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: vxlan, id: 100, subnet: 10.10.0.0/24}]
volumes:
  - {name: data, target: "${target}", lun: 1, format: if-blank, fence: ${fence}}
personalities:
  - name: db
    networks: [{network: blue, address: 10.10.0.11/24}]
    storage: [{lun: 0, volume: data, mount: /srv/db}]
lab:
  target: lio
  storage: [{target: "${target}", luns: [{lun: 1, size: 64MiB}]}]
`;
const program = new URL('../../../bin/understudy', import.meta.url).pathname;
const settleMs = 300_000;
const takeoverMs = 120_000;

let failed = 0;
function see(what: string, seen: boolean): void {
  console.log(`${seen ? 'seen' : 'NOT SEEN'}: ${what}`);
  if (!seen) failed += 1;
}

const config = '/sys/kernel/config/target';
execFileSync('sh', [
  '-c',
  `mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
mkdir -p ${config}/iscsi; mkdir -p "$(cat ${config}/dbroot)/pr"`,
]);
const inKernel = (script: string) => execFileSync('sh', ['-c', script], { encoding: 'utf8' });
const letIn = () =>
  inKernel(`ls ${config}/iscsi/${target}/tpgt_1/acls`)
    .split('\n')
    .filter((name) => name !== '');

const { config: cluster, lab: section } = parsed(file);
const { stage, lab, close } = await openStage(
  cluster,
  section,
  new Claims(),
  (line) => console.log(line),
  new AbortController().signal,
  { settleMs },
);
/** Again where etcd had no time to answer: what is tested is not how long the guest takes for that. */
async function patient<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      if ((thrown as { code?: string }).code !== 'US_STORE_UNREACHABLE') throw thrown;
    }
  }
}

try {
  const before = personality(await patient(() => stage.status()), 'db');
  const { host: old, epoch } = before;
  const name = (host: string, of: number) => `iqn.2026-11.io.understudy:onlio.db.${host}.e${of}`;
  if (fence === 'mask') {
    see('LIO lets in the owner alone', letIn().join() === name(old ?? '', epoch));
  }
  const acknowledged: number[] = [];
  const loop =
    'i=0; while :; do i=$((i+1)); echo $i >> /srv/db/log && sync /srv/db/log && echo $i || exit; done';
  const writer = stage.lab.spawn('db', ['sh', '-c', loop]);
  await new Promise<void>((resolve, reject) => {
    if (writer.stdout === null) return reject(new Error('the writer has no output'));
    writer.once('close', () => reject(new Error('the writer ended')));
    createInterface({ input: writer.stdout }).on('line', (line) => {
      acknowledged.push(Number(line));
      if (acknowledged.length === 20) resolve();
    });
  });
  writer.removeAllListeners('close');
  writer.once('close', () => {});
  await stage.lab.kill(old ?? '');
  const status = await patient(() =>
    stage.until(
      'another host has it',
      (found) => {
        const db = personality(found, 'db');
        return db.epoch > epoch && db.host !== old && db.phase === 'running';
      },
      takeoverMs,
    ),
  );
  see(`${personality(status, 'db').host} took over, fenced by ${fence}`, true);
  const [last] = JSON.parse(await understudy(lab, 'failovers', '--json')) as readonly Timeline[];
  for (const { name: step, startMs, endMs } of last?.steps ?? []) {
    console.log(`${step} ${Math.round(startMs)} to ${Math.round(endMs)} ms`);
  }
  const lines = (await must(stage, 'db', ['cat', '/srv/db/log'])).trim().split('\n').map(Number);
  const newest = acknowledged.at(-1) ?? 0;
  see(
    `all ${newest} lines that were acknowledged are there`,
    lines.length >= newest && lines.every((line, at) => line === at + 1),
  );
  await must(stage, 'db', ['sh', '-c', 'echo after >> /srv/db/log; sync /srv/db/log']);
  const now = personality(await patient(() => stage.status()), 'db');
  if (fence === 'mask') {
    see('LIO lets in the new owner alone', letIn().join() === name(now.host ?? '', now.epoch));
  } else {
    // On a host: the control node of a lab is on no storage network.
    const reservation = (...argv: readonly string[]) =>
      stage.lab.exec(now.host ?? '', [process.execPath, program, 'reservation', ...argv]);
    const shown = await reservation('show', 'data', '--json');
    console.log(shown.stdout, shown.stderr);
    const [told] = JSON.parse(shown.stdout);
    see('one key is registered, and holds the LUN', told?.registered.length === 1);
    see('it is the new owner’s', String(told?.registered[0]?.owner).includes(now.host ?? '?'));
    see('LIO itself says so', told?.holder?.key === told?.registered[0]?.key);
    const refused = await reservation('clear', 'data');
    console.log(refused.stderr);
    see('it is not cleared while somebody uses it', refused.code === 1);
  }
} finally {
  await close();
}
const left = inKernel(`find ${config} -maxdepth 2 '(' -name 'iqn.*' -o -name 'fileio_*' ')'`);
see('nothing of the lab is left in the kernel', left === '');
process.exit(failed === 0 ? 0 : 1);
