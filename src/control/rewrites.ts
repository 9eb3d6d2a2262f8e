import type { CalledOff } from './moving.js';
import type { AssignmentRecord, Cause } from './records.js';
import { type Role, roleId, type View } from './view.js';

/** One assignment to be written; the transaction compares the revisions it rests on. */
export interface Rewrite {
  readonly role: Role;
  /** undefined: the assignment must not exist yet. */
  readonly assignmentRevision: number | undefined;
  readonly configRevision: number;
  readonly toHostRevision: number | undefined;
  readonly next: AssignmentRecord;
  readonly reason: string;
}

/**
 * Asks the owner to stop in good order and hand over: the owner itself writes the next assignment,
 * when it holds nothing any more. Should it die over this, its votes decide as ever.
 */
export function draining(
  view: View,
  role: Role,
  to: string | null,
  cause: Cause,
  reason: string,
): readonly Rewrite[] {
  const kept = view.assignments.get(roleId(role));
  if (kept === undefined || kept.value.host === null || view.config === undefined) return [];
  return [
    {
      role,
      assignmentRevision: kept.revision,
      configRevision: view.config.revision,
      toHostRevision: undefined,
      next: {
        ...kept.value,
        state: 'draining',
        to,
        cause,
        reason,
        ...(to === null ? {} : { move: kept.revision }),
      },
      reason,
    },
  ];
}

/**
 * The role stays with its owner, under the same epoch: nothing that runs is touched. Where the owner has
 * begun to let go after all, its hand-over finds another revision, and it takes the role up again.
 */
export function stays(view: View, { role, reason }: CalledOff): readonly Rewrite[] {
  const kept = view.assignments.get(roleId(role));
  if (kept?.value.state !== 'draining' || view.config === undefined) return [];
  const { move: _, ...value } = kept.value;
  return [
    {
      role,
      assignmentRevision: kept.revision,
      configRevision: view.config.revision,
      toHostRevision: undefined,
      next: { ...value, state: 'assigned', to: null, reason },
      reason,
    },
  ];
}
