import { isEligible } from './eligible.js';
import { unplaced } from './failover.js';
import type { AssignmentRecord, FailoverRecord } from './records.js';
import { type Role, roleId, type View } from './view.js';

/** What an owner that has let go of a role writes in its stead. */
export interface Handover {
  readonly assignmentRevision: number;
  readonly toHostRevision: number | undefined;
  readonly next: AssignmentRecord;
  readonly record: FailoverRecord | null;
}

export function decideHandover(
  view: View,
  role: Role,
  now: {
    readonly me: string;
    readonly nowMs: number;
    readonly unixMs: number;
    readonly bootId: string;
    readonly drainStartedMs: number;
  },
): Handover | undefined {
  const kept = view.assignments.get(roleId(role));
  const config = view.config?.value.config;
  if (kept === undefined || config === undefined || kept.value.state !== 'draining')
    return undefined;
  const { to, epoch, cause, reason } = kept.value;
  const named = config.hosts.some(({ name }) => name === to);
  const host = to === null || !named ? undefined : view.hosts.get(to);
  const incarnation = host?.value.incarnation ?? 0;
  const may = to !== null && isEligible(view, to, incarnation);
  if (to === null || host === undefined || !may) {
    const next = { ...unplaced(kept.value), cause, reason };
    return { assignmentRevision: kept.revision, toHostRevision: undefined, next, record: null };
  }
  const record: FailoverRecord = {
    id: `${role.name}-${epoch + 1}`,
    kind: role.kind,
    name: role.name,
    from: kept.value.host,
    fromIncarnation: kept.value.incarnation,
    to,
    epoch: epoch + 1,
    cause,
    reason,
    evidence: [],
    committedBy: now.me,
    atUnixMs: now.unixMs,
    zeroMs: now.drainStartedMs,
    votedMs: now.drainStartedMs,
    commitMs: now.nowMs,
    bootId: now.bootId,
  };
  const next: AssignmentRecord = {
    host: to,
    incarnation: host.value.incarnation,
    epoch: epoch + 1,
    state: 'assigned',
    cause,
    reason,
    to: null,
    failover: record.id,
  };
  return { assignmentRevision: kept.revision, toHostRevision: host.revision, next, record };
}
