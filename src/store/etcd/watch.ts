import { messageOf } from '../../errors.js';
import type { StoreLog } from '../log.js';
import { pause, type Timers } from '../timers.js';
import type { Change, Snapshot, WatchListener } from '../types.js';
import type { Member } from './member.js';
import type { Members } from './members.js';
import type { WatchResponse } from './protocol.js';
import { type SessionEnd, WatchSession } from './watch-session.js';

const firstPauseMs = 20;
const longestPauseMs = 500;
/** A session that lasted this long was a good one: the next failure starts with a short pause. */
const goodSessionMs = 2_000;

export interface WatchSpec {
  readonly members: Members;
  readonly timers: Timers;
  readonly log: StoreLog;
  readonly prefix: string;
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  readonly listener: WatchListener;
  list(signal: AbortSignal): Promise<Snapshot & { readonly clusterId: string }>;
  toChange(event: WatchResponse['events'][number]): Change;
}

/**
 * Follows a prefix until `signal` aborts: a snapshot at revision R, then every change from R + 1,
 * on one member after another. Only when changes may be missing is there a new snapshot.
 */
export async function follow(spec: WatchSpec, signal: AbortSignal): Promise<void> {
  const { timers, log, prefix, members } = spec;
  let known: { revision: number; readonly clusterId: string } | undefined;
  let failed: Member | undefined;
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (known === undefined) {
        const { clusterId, ...snapshot } = await spec.list(signal);
        known = { revision: snapshot.revision, clusterId };
        spec.listener.snapshot(snapshot);
      }
      const member = members.pick(failed);
      const startedMs = timers.nowMs();
      const end = await session(spec, member, known, signal);
      if (signal.aborted) return;
      if (timers.nowMs() - startedMs > goodSessionMs) failures = 0;
      log.info({ prefix, endpoint: member.endpoint, ...end }, `watch moves on: ${end.reason}`);
      if (end.kind === 'gap') known = undefined;
      else members.failed(member);
      failed = end.kind === 'gap' ? undefined : member;
    } catch (thrown) {
      if (signal.aborted) return;
      log.warn({ prefix, error: thrown }, `watch: ${messageOf(thrown)}`);
    }
    await pause(timers, Math.min(longestPauseMs, firstPauseMs * 2 ** failures++), signal);
  }
}

/** One session; moves `known.revision` on. */
function session(
  spec: WatchSpec,
  member: Member,
  known: { revision: number; readonly clusterId: string },
  signal: AbortSignal,
): Promise<SessionEnd> {
  return new Promise((resolve) => {
    const finish = (end: SessionEnd) => {
      signal.removeEventListener('abort', abort);
      resolve(end);
    };
    const current = new WatchSession(
      {
        member,
        timers: spec.timers,
        key: spec.key,
        rangeEnd: spec.rangeEnd,
        afterRevision: known.revision,
        clusterId: known.clusterId,
        patience: () => spec.members.patience,
        toChange: spec.toChange,
        changes: (changes, revision) => {
          known.revision = revision;
          spec.listener.changes(changes, revision);
        },
      },
      finish,
    );
    const abort = () => {
      current.close();
      finish({ kind: 'member', reason: 'called off' });
    };
    signal.addEventListener('abort', abort);
  });
}
