import type { Test } from 'tap';
import { personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { PingWatch } from '../../src/observe/observers.js';
import { Random } from '../control/lease/world-parts.js';
import { openLab } from './harness.js';
import { pulseStatus } from './pulse-status.js';

/** Controllers carry nothing, so that a controller's fault is not the owner's. */
const file = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts:
  - {name: h1, pool: control}
  - {name: h2, pool: control}
  - {name: h3, pool: control}
  - {name: h4, pool: work}
  - {name: h5, pool: work}
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
  - {name: web1, networks: [{network: blue, address: 10.10.0.11/24}], pool: work}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

const recoveryMs = 20_000;
const leaseMs = 200;
const kinds = [
  'kill pulse',
  'kill agent',
  'stop pulse',
  'stop agent',
  'cut network',
  'kill agent of the owner',
  'stop agent of the owner',
] as const;

/** So many faults, each kind in turn, of one controller after the other: no lease lapses, no ping is lost. */
export async function faultsOfControllers(t: Test, faults: number): Promise<void> {
  const { stage, lab } = await openLab(t, 'single', {}, file);
  const before = personality(await stage.status(), 'web1');
  const owner = before.host ?? '';
  await recovered(stage, lab);
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  const startMs = Date.now();
  await ping.answerAfter(startMs, 10_000);
  const random = new Random(20_261);
  const tookMs: number[] = [];
  for (let count = 0; count < faults; count++) {
    const kind = kinds[count % kinds.length] ?? 'kill pulse';
    const controller = `h${1 + random.below(3)}`;
    // Most stops are short, some are ten leases long.
    const lengthMs = random.below(4) === 0 ? 500 + random.below(1_500) : 100 + random.below(400);
    await doFault(lab, kind, kind.endsWith('owner') ? owner : controller, lengthMs);
    const faultEndMs = Date.now();
    await recovered(stage, lab);
    tookMs.push(Date.now() - faultEndMs);
    const lost = ping.lostAfter(startMs);
    if (lost > 0) {
      t.fail(`fault ${count}, ${kind} on ${controller} for ${lengthMs} ms: ${lost} pings lost`);
      explain(t, lab, owner);
      return;
    }
  }
  await ping.answerAfter(Date.now(), 5_000);
  t.equal(ping.lostAfter(startMs), 0, `of ${ping.answers} pings none is lost`);
  const after = personality(await stage.status(), 'web1');
  t.same([after.host, after.epoch], [owner, before.epoch], 'same host, same epoch');
  t.notMatch(lab.readFile(`logs/${owner}-pulse.log`), /lease lapsed/, 'the lease never lapsed');
  const logs = stage.config.controllers.map((name) => lab.readFile(`logs/${name}-agent.log`));
  const withdrawals = logs.join('').match(/withdraws its vote/g)?.length ?? 0;
  t.ok(withdrawals > 0, `${withdrawals} votes were withdrawn on the way`);
  const longest = Math.max(...tookMs);
  t.comment(
    `longest gap ${ping.longestGapMs(startMs)?.toFixed(1)} ms, recovery up to ${longest} ms`,
  );
}

async function doFault(
  lab: Lab,
  kind: (typeof kinds)[number],
  host: string,
  lengthMs: number,
): Promise<void> {
  const machine = lab.machine(host);
  const daemon = machine.daemon(kind.includes('pulse') ? 'pulse' : 'agent');
  if (kind.startsWith('kill')) {
    daemon.signal('KILL');
    await daemon.restart();
    return;
  }
  if (kind === 'cut network') await machine.partition(['internal'], 'both');
  else daemon.signal('STOP');
  await new Promise((resolve) => setTimeout(resolve, lengthMs));
  if (kind === 'cut network') await machine.heal();
  else daemon.signal('CONT');
}

/**
 * Waits until one more fault may come: every host is enrolled, and each controller's own pulse says
 * that it acknowledges every one of them.
 */
async function recovered(stage: Stage, lab: Lab): Promise<void> {
  const endMs = Date.now() + recoveryMs;
  for (;;) {
    const missing = await notAcked(stage, lab);
    if (missing.length === 0) return;
    if (Date.now() > endMs) throw new Error(`not recovered: ${missing.join(', ')}`);
  }
}

async function notAcked(stage: Stage, lab: Lab): Promise<readonly string[]> {
  const { hosts } = await stage.status();
  const down = hosts.filter(({ state }) => state !== 'up').map(({ name }) => `${name} is not up`);
  if (down.length > 0) return down;
  const seen = await Promise.all(
    stage.config.controllers.map(async (controller) => {
      const status = await pulseStatus(lab, controller).catch(() => undefined);
      return hosts.flatMap(({ name, incarnation }) => {
        const one = status?.hosts.find(
          (host) => host.host === name && host.incarnation === incarnation,
        );
        const acked = one?.lastAckAgoMs != null && one.lastAckAgoMs < leaseMs;
        return acked ? [] : [`${controller} does not ack ${name}/${incarnation}`];
      });
    }),
  );
  return seen.flat();
}

function explain(t: Test, lab: Lab, owner: string): void {
  for (const log of [
    `${owner}-pulse`,
    'h1-agent',
    'h2-agent',
    'h3-agent',
    'h1-pulse',
    'h2-pulse',
    'h3-pulse',
  ]) {
    t.comment(
      `${log}\n${lab.readFile(`logs/${log}.log`).trim().split('\n').slice(-15).join('\n')}`,
    );
  }
}
