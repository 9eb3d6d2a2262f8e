import type { BallotFacts } from '../control/ballot-facts.js';
import type { FinalStep } from '../control/controllers-change.js';
import type { Commit } from '../control/failover.js';
import type { Handover } from '../control/handover.js';
import {
  assignmentKey,
  configKey,
  controllerSetsKey,
  controllerStartKey,
  failoverKey,
  hostKey,
  retiredKey,
  voteKey,
} from '../control/keys.js';
import type { AssignmentRecord, SetsRecord, StartRecord, VoteRecord } from '../control/records.js';
import type { Rewrite } from '../control/rewrites.js';
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
      ...newOwnerCompare(commit.next, commit.toHostRevision ?? undefined),
    ],
    write: [
      put(key, commit.next),
      put(retiredKey(host, incarnation), {}),
      ...(commit.record === null ? [] : [put(failoverKey(commit.record.id), commit.record)]),
    ],
  };
}

/** Who writes a vote's key, in which start of its pulse, and the revision that it last saw there. */
export interface VoteSlot {
  readonly me: string;
  readonly nonce: string;
  readonly host: string;
  readonly incarnation: number;
  readonly mine: number | undefined;
}

/**
 * Lands only within its own start of pulse (rule 6), and only on the key as it was read: a late try
 * cannot undo a withdrawal that was written meanwhile (rule 11).
 */
export function voteTransaction(slot: VoteSlot, vote: VoteRecord): Transaction {
  return { compare: slotCompare(slot), write: [put(slotKey(slot), vote)] };
}

/**
 * The vote that makes the majority, and what is committed on it. It compares what each of them does:
 * the vote its start and its key as it was read, each commit the other votes and all else it rests on.
 * All of it is written at once or nothing, so no commit rests on a vote that is not in the store.
 */
export function closingTransaction(
  slot: VoteSlot,
  vote: VoteRecord,
  commits: readonly Commit[],
): Transaction {
  const parts = [voteTransaction(slot, vote), ...commits.map(commitTransaction)];
  return {
    compare: once(parts.flatMap(({ compare }) => compare)),
    write: once(parts.flatMap(({ write }) => write)),
  };
}

/** Commits of one incarnation have comparisons in common, and the retired mark. */
function once<T extends object>(items: readonly T[]): readonly T[] {
  return [...new Map(items.map((item) => [JSON.stringify(item), item])).values()];
}

/**
 * Takes one's own vote back while it is not final: fewer than a majority stand, which the other
 * controllers' keys as they were read say, under the configuration that names them; and no commit
 * rested on it. Each commit writes the retired mark, whichever role it moves, so that one comparison
 * speaks for all assignments. The key is overwritten, never deleted: deleted, it would be as absent
 * as a late try of the vote expects it.
 */
export function withdrawalTransaction(
  slot: VoteSlot,
  others: BallotFacts['others'],
  configRevision: number,
  withdrawn: VoteRecord,
): Transaction {
  const { host, incarnation } = slot;
  return {
    compare: [
      ...slotCompare(slot),
      { kind: 'absent', key: retiredKey(host, incarnation) },
      { kind: 'revision', key: configKey, modRevision: configRevision },
      ...others.map(({ controller, revision }) =>
        unchanged(voteKey(host, incarnation, controller), revision),
      ),
    ],
    write: [put(slotKey(slot), withdrawn)],
  };
}

/**
 * What a controller grants and refuses from now on, within its own start of pulse: a write delayed from
 * before a restart would speak for a pulse that was never told.
 */
export function setsTransaction(
  me: string,
  nonce: string,
  revision: number | undefined,
  record: SetsRecord,
): Transaction {
  const key = controllerSetsKey(me);
  const start: StartRecord = { nonce };
  return {
    compare: [
      { kind: 'value', key: controllerStartKey(me), value: JSON.stringify(start) },
      unchanged(key, revision),
    ],
    write: [put(key, record)],
  };
}

/** The new controllers alone: over the very configuration and refusals that were waited for. */
export function finalTransaction({ configRevision, refusals, next }: FinalStep): Transaction {
  return {
    compare: [
      { kind: 'revision', key: configKey, modRevision: configRevision },
      ...refusals.map(
        ({ controller, revision }): Compare => ({
          kind: 'revision',
          key: controllerSetsKey(controller),
          modRevision: revision,
        }),
      ),
    ],
    write: [put(configKey, next)],
  };
}

const slotKey = ({ host, incarnation, me }: VoteSlot): string => voteKey(host, incarnation, me);

function slotCompare(slot: VoteSlot): readonly Compare[] {
  const start: StartRecord = { nonce: slot.nonce };
  return [
    { kind: 'value', key: controllerStartKey(slot.me), value: JSON.stringify(start) },
    unchanged(slotKey(slot), slot.mine),
  ];
}

function unchanged(key: string, revision: number | undefined): Compare {
  return revision === undefined
    ? { kind: 'absent', key }
    : { kind: 'revision', key, modRevision: revision };
}

export function rewriteTransaction(rewrite: Rewrite): Transaction {
  const key = assignmentKey(rewrite.role.kind, rewrite.role.name);
  return {
    compare: [
      unchanged(key, rewrite.assignmentRevision),
      { kind: 'revision', key: configKey, modRevision: rewrite.configRevision },
      ...newOwnerCompare(rewrite.next, rewrite.toHostRevision),
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
      ...newOwnerCompare(handover.next, handover.toHostRevision),
    ],
    write: [
      put(key, handover.next),
      ...(record === null ? [] : [put(failoverKey(record.id), record)]),
    ],
  };
}

/**
 * The enrolment that a choice rests on must still be that one, and no commit may have shut it out
 * meanwhile: another controller may have moved something else away from that host an instant ago.
 */
function newOwnerCompare(
  { host, incarnation }: Pick<AssignmentRecord, 'host' | 'incarnation'>,
  revision: number | undefined,
): readonly Compare[] {
  if (host === null || revision === undefined) return [];
  return [
    { kind: 'revision', key: hostKey(host), modRevision: revision },
    { kind: 'absent', key: retiredKey(host, incarnation) },
  ];
}

export function put(key: string, value: object): Operation {
  return { kind: 'put', key, value: JSON.stringify(value) };
}
