import type { FailoverRecord, StepName, StepsRecord } from './records.js';
import type { View } from './view.js';

/** One entry of `failovers --json`. Times in ms since the last acknowledged heartbeat. */
export interface Timeline {
  readonly id: string;
  readonly personality: string;
  readonly kind: 'personality' | 'service';
  readonly from: string | null;
  readonly to: string;
  readonly epoch: number;
  readonly cause: string;
  readonly reason: string;
  readonly evidence: readonly {
    readonly controller: string;
    readonly lastAckAgoMs: number | null;
  }[];
  readonly steps: readonly TimelineStep[];
  readonly outcome: 'ok' | 'failed' | 'running';
  readonly verifiedBy: string | null;
  readonly committedBy: string;
  readonly atUnixMs: number;
  /**
   * How far steps of another host may be off: null where every step was taken on one clock,
   * else they are counted from when the commit reached that host, so each is early by the
   * store's delivery time, which is not known.
   */
  readonly clockOffset: 'one-clock' | 'counted-from-delivery';
}

export interface TimelineStep {
  readonly name: StepName;
  readonly startMs: number;
  readonly endMs: number;
  readonly host: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** Every record, newest first. */
export function timelinesOf(view: View): readonly Timeline[] {
  return [...view.failovers.values()]
    .map(({ value }) => timelineOf(value, view.steps.get(value.id)))
    .sort((a, b) => b.atUnixMs - a.atUnixMs || (a.id < b.id ? -1 : 1));
}

/** Puts a record and everybody's steps on one time line. */
export function timelineOf(
  record: FailoverRecord,
  byWhom: ReadonlyMap<string, { readonly value: StepsRecord }> | undefined,
): Timeline {
  const since = (ms: number) => Math.round((ms - record.zeroMs) * 10) / 10;
  const detect: TimelineStep = {
    name: 'detect',
    startMs: 0,
    endMs: since(record.votedMs),
    host: record.committedBy,
    ok: true,
    detail: record.reason,
  };
  const decide: TimelineStep = {
    name: 'decide',
    startMs: since(record.votedMs),
    endMs: since(record.commitMs),
    host: record.committedBy,
    ok: true,
    detail: `committed epoch ${record.epoch}`,
  };
  const records = [...(byWhom?.values() ?? [])].map(({ value }) => value);
  const oneClock = records.every(({ bootId }) => bootId === record.bootId);
  const later = records.flatMap((whose) => {
    const shift = whose.bootId === record.bootId ? 0 : record.commitMs - whose.heardMs;
    return whose.steps.map((step) => ({
      name: step.name,
      startMs: since(step.startMs + shift),
      endMs: since(step.endMs + shift),
      host: whose.host,
      ok: step.ok,
      detail: step.detail ?? '',
    }));
  });
  later.sort((a, b) => a.startMs - b.startMs);
  const verified = later.find((step) => step.name === 'verify' && step.ok);
  const outcomes = records.map(({ outcome }) => outcome);
  return {
    id: record.id,
    personality: record.name,
    kind: record.kind,
    from: record.from,
    to: record.to,
    epoch: record.epoch,
    cause: record.cause,
    reason: record.reason,
    evidence: record.evidence,
    steps: [detect, decide, ...later],
    outcome: outcomes.includes('failed') ? 'failed' : outcomes.includes('ok') ? 'ok' : 'running',
    verifiedBy: verified?.host ?? null,
    committedBy: record.committedBy,
    atUnixMs: record.atUnixMs,
    clockOffset: oneClock ? 'one-clock' : 'counted-from-delivery',
  };
}
