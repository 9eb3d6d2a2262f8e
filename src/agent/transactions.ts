import type { Commit } from '../control/failover.js';
import type { Handover } from '../control/handover.js';
import {
  assignmentKey,
  configKey,
  failoverKey,
  hostKey,
  retiredKey,
  voteKey,
} from '../control/keys.js';
import type { Rewrite } from '../control/stewardship.js';
import type { Role } from '../control/view.js';
import type { Compare, Operation, Transaction } from '../store/types.js';

/** The core's decisions as transactions of the store. */

export function commitTransaction(commit: Commit): Transaction {
  const { host, incarnation } = commit.from;
  const key = assignmentKey(commit.role.kind, commit.role.name);
  return {
    compare: [
      { kind: 'revision', key, modRevision: commit.assignmentRevision },
      { kind: 'revision', key: configKey, modRevision: commit.configRevision },
      ...commit.votes.map(
        ({ controller, revision }): Compare => ({
          kind: 'revision',
          key: voteKey(host, incarnation, controller),
          modRevision: revision,
        }),
      ),
      ...hostCompare(commit.next.host, commit.toHostRevision ?? undefined),
    ],
    write: [
      put(key, commit.next),
      put(retiredKey(host, incarnation), {}),
      ...(commit.record === null ? [] : [put(failoverKey(commit.record.id), commit.record)]),
    ],
  };
}

export function rewriteTransaction(rewrite: Rewrite): Transaction {
  const key = assignmentKey(rewrite.role.kind, rewrite.role.name);
  return {
    compare: [
      rewrite.assignmentRevision === undefined
        ? { kind: 'absent', key }
        : { kind: 'revision', key, modRevision: rewrite.assignmentRevision },
      { kind: 'revision', key: configKey, modRevision: rewrite.configRevision },
      ...hostCompare(rewrite.next.host, rewrite.toHostRevision),
    ],
    write: [put(key, rewrite.next)],
  };
}

export function handoverTransaction(role: Role, handover: Handover): Transaction {
  const key = assignmentKey(role.kind, role.name);
  const { record } = handover;
  return {
    compare: [
      { kind: 'revision', key, modRevision: handover.assignmentRevision },
      ...hostCompare(handover.next.host, handover.toHostRevision),
    ],
    write: [
      put(key, handover.next),
      ...(record === null ? [] : [put(failoverKey(record.id), record)]),
    ],
  };
}

/** The enrolment that a choice rests on must still be that one. */
function hostCompare(host: string | null, revision: number | undefined): readonly Compare[] {
  return host === null || revision === undefined
    ? []
    : [{ kind: 'revision', key: hostKey(host), modRevision: revision }];
}

export function put(key: string, value: object): Operation {
  return { kind: 'put', key, value: JSON.stringify(value) };
}
