import type { GrantOutput, GrantStep } from './grant-events.js';
import { type Grant, type GrantTerm, type HostGrants, unheardGraceNs } from './grants.js';
import { earlier, later } from './instants.js';
import type { Rules } from './rules.js';

/** A lapse is reported again each lease this often, then every tenth lease. */
const eagerReports = 10;

/** When this host's table wants a tick; undefined for never. */
export function grantsWakeNs(host: HostGrants): bigint | undefined {
  let wakeNs: bigint | undefined;
  for (const grant of host.grants) {
    const atNs = grant.stopped
      ? grant.stopAwaited
        ? grant.promisedUntilNs
        : undefined
      : nextReportNs(grant);
    if (atNs !== undefined && (wakeNs === undefined || atNs < wakeNs)) wakeNs = atNs;
  }
  return wakeNs;
}

/** Whether a lapse stands: reported, and not renewed since (nor could it be, once stopped). */
export const isLapsed = (grant: Grant): boolean => grant.reports > 0;

function nextReportNs(grant: Grant): bigint {
  if (grant.reports > 0) return grant.nextReportNs;
  return later(grant.promisedUntilNs, grant.reportFromNs);
}

/**
 * Half a lease to read what waits in the socket: two heartbeats, at four to a lease. But a process
 * that keeps stalling must still see a dead host some time.
 */
export function onStalled(host: HostGrants, nowNs: bigint, term: GrantTerm): GrantStep {
  const grants = host.grants.map((grant) => {
    const latestNs = grant.promisedUntilNs + unheardGraceNs(term);
    const reportFromNs = earlier(nowNs + term.leaseNs / 2n, latestNs);
    return { ...grant, reportFromNs: later(grant.reportFromNs, reportFromNs) };
  });
  return { state: { ...host, grants }, outputs: [], reason: 'looked' };
}

export function onTick(host: HostGrants, nowNs: bigint, term: GrantTerm, rules: Rules): GrantStep {
  const outputs: GrantOutput[] = [];
  const grants = host.grants.map((grant) => {
    const looked = look(grant, nowNs, term, rules);
    if (looked === undefined) return grant;
    outputs.push(looked.output);
    return looked.grant;
  });
  const state = outputs.length === 0 ? host : { ...host, grants };
  return { state, outputs, reason: 'looked' };
}

/** What the time that passed means for one incarnation; undefined for nothing. */
function look(
  grant: Grant,
  nowNs: bigint,
  term: GrantTerm,
  rules: Rules,
): { readonly grant: Grant; readonly output: GrantOutput } | undefined {
  const { incarnation, lastAckNs } = grant;
  if (grant.stopped) {
    const running = nowNs < grant.promisedUntilNs && rules.stopAfterPromise;
    if (!grant.stopAwaited || running) return undefined;
    return {
      grant: { ...grant, stopAwaited: false },
      output: { kind: 'stop-in-force', incarnation },
    };
  }
  if (nowNs < nextReportNs(grant)) return undefined;
  const reports = grant.reports + 1;
  const pauseNs = term.leaseNs * (reports < eagerReports ? 1n : 10n);
  const lastAckAgoNs = lastAckNs === null ? null : nowNs - lastAckNs;
  return {
    grant: { ...grant, reports, nextReportNs: nowNs + pauseNs },
    output: { kind: 'lapsed', incarnation, lastAckAgoNs, report: reports },
  };
}
