import { type Timeline, timelinesOf } from '../../control/timeline.js';
import { UnderstudyError } from '../../errors.js';
import { type ClusterOptions, withCluster } from '../cluster.js';
import { table } from '../output.js';

export interface FailoversOptions extends ClusterOptions {
  readonly json: boolean;
  readonly id?: string;
}

export async function run(options: FailoversOptions): Promise<number> {
  return withCluster(options, async (cluster) => {
    const all = timelinesOf(await cluster.view());
    const { id } = options;
    if (id === undefined) {
      print(options.json, all, listText(all));
      return 0;
    }
    const one = all.find((found) => found.id === id);
    if (one === undefined) {
      throw new UnderstudyError({
        code: 'US_FAILOVER_UNKNOWN',
        action: 'cannot show failover',
        object: id,
        cause: 'no such record',
        remedy: 'understudy failovers lists them',
      });
    }
    print(options.json, one, timelineText(one));
    return 0;
  });
}

function print(json: boolean, data: unknown, text: string): void {
  process.stdout.write(`${json ? JSON.stringify(data) : text}\n`);
}

function listText(all: readonly Timeline[]): string {
  if (all.length === 0) return 'no failover yet';
  return table([
    ['ID', 'OUTCOME', 'FROM', 'TO', 'CAUSE', 'TOOK', 'VERIFIED BY', 'AT'],
    ...all.map((one) => [
      one.id,
      one.outcome,
      one.from ?? '-',
      one.to,
      one.cause,
      `${Math.round(Math.max(...one.steps.map(({ endMs }) => endMs)))} ms`,
      one.verifiedBy ?? '-',
      new Date(one.atUnixMs).toISOString(),
    ]),
  ]);
}

const barWidth = 40;

/** Each step as a bar on one scale, zero being the last heartbeat that was acknowledged. */
export function timelineText(one: Timeline): string {
  const endMs = Math.max(1, ...one.steps.map((step) => step.endMs));
  const column = (ms: number) => Math.round((Math.max(0, ms) / endMs) * barWidth);
  const bar = (start: number, end: number) => {
    const from = Math.min(column(start), barWidth - 1);
    return `${' '.repeat(from)}${'█'.repeat(Math.max(1, column(end) - from))}`.padEnd(barWidth);
  };
  const evidence = one.evidence
    .map(({ controller, lastAckAgoMs }) =>
      lastAckAgoMs === null
        ? `${controller}: never since it started`
        : `${controller}: ${Math.round(lastAckAgoMs)} ms`,
    )
    .join(', ');
  return [
    `${one.id}: ${one.personality} ${one.from ?? 'nobody'} → ${one.to}, epoch ${one.epoch}, ${one.cause}: ${one.outcome}`,
    one.reason,
    ...(evidence === '' ? [] : [`last heartbeat acknowledged: ${evidence}`]),
    '',
    table([
      ['STEP', 'FROM', 'TO', 'ON', '', ''],
      ...one.steps.map((step) => [
        step.name,
        `${Math.round(step.startMs)} ms`,
        `${Math.round(step.endMs)} ms`,
        step.host,
        bar(step.startMs, step.endMs),
        step.ok ? '' : `failed: ${step.detail}`,
      ]),
    ]),
    '',
    one.clockOffset === 'one-clock'
      ? 'Every step was timed on one clock. Zero is the last acknowledged heartbeat.'
      : "Steps of other hosts are counted from when the commit reached them: early by the store's delivery time.",
  ].join('\n');
}
