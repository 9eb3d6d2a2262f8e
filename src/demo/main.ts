import { readFileSync } from 'node:fs';
import { parseClusterFile } from '../config/parse.js';
import type { LabConfig } from '../config/types.js';
import { messageOf } from '../errors.js';
import { Claims } from './claims.js';
import { showDisks, showIsolation } from './isolation.js';
import { showMachines } from './machines.js';
import { openStage } from './open-stage.js';
import { type PowerCut, showPowerCut, showReturn } from './power-cut.js';
import { showService } from './service.js';

const backends = {
  netns: { file: 'demo.yaml', settings: {} },
  vm: {
    file: 'vm/demo.yaml',
    // Their kernel has the initiator.
    settings: { agentSettings: { storageBackend: 'kernel' } },
  },
} as const;

/**
 * `understudy demo`: a lab on this machine, faults by its own hands, observers outside the product,
 * and a table of claims. Exit code 0 only when every claim was seen.
 */
export async function runDemo(options: {
  readonly backend: LabConfig['backend'];
  readonly json: boolean;
  readonly signal: AbortSignal;
}): Promise<number> {
  const startedMs = performance.now();
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const out = options.json ? say : (line: string) => process.stdout.write(`${line}\n`);
  const claims = new Claims();
  let cut: PowerCut | undefined;
  let problem: unknown;
  try {
    const { file, settings } = backends[options.backend];
    const path = new URL(`../../../examples/${file}`, import.meta.url).pathname;
    const parsed = parseClusterFile(readFileSync(path, 'utf8'), path);
    if (!parsed.ok || parsed.lab === undefined) throw new Error(`${path} is not a valid lab file`);
    const { config, lab } = parsed;
    out(
      `starting ${config.hosts.length} hosts, ${config.networks.length} virtual LANs, an iSCSI target, etcd and two clients`,
    );
    const { stage, close } = await openStage(config, lab, claims, out, options.signal, settings);
    try {
      out(`up after ${seconds(startedMs)} s`);
      if (options.backend === 'vm') await showMachines(stage);
      await showDisks(stage);
      await showIsolation(stage);
      cut = await showPowerCut(stage);
      await showReturn(stage, cut.failedHost, cut.lostEpoch);
      await showService(stage);
    } finally {
      await close();
    }
  } catch (thrown) {
    problem = thrown;
    out(`stopped: ${messageOf(thrown)}`);
  }
  const table = claims.table;
  const ok = problem === undefined && table.every(({ seen }) => seen);
  if (options.json) {
    const elapsedMs = Math.round(performance.now() - startedMs);
    const { gapMs, httpGapMs, record: failover } = cut ?? {};
    const result = { ok, claims: table, gapMs, httpGapMs, elapsedMs, failover };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return ok ? 0 : 1;
  }
  out('');
  for (const { id, text, seen, evidence } of table) {
    out(`${seen ? 'seen    ' : 'NOT SEEN'}  ${id.padEnd(3)} ${text}`);
    out(`               ${evidence}`);
  }
  out('');
  out(
    `${table.filter(({ seen }) => seen).length} of ${table.length} claims seen in ${seconds(startedMs)} s`,
  );
  return ok ? 0 : 1;
}

function seconds(sinceMs: number): string {
  return ((performance.now() - sinceMs) / 1_000).toFixed(1);
}
