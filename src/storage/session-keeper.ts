import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, UnderstudyError } from '../errors.js';
import { cleanUp, owesCleanup } from '../ffi/iscsi-netlink.js';
import { connectionState, type KernelSession, kernelSessions } from './kernel-sessions.js';
import { interfaceName, interfacePrefix } from './kernel-state.js';
import type { Log } from './log.js';
import type { Layout, VolumeId } from './state.js';
import { isOwnName } from './types.js';

const lookEveryMs = 1_000;
/** iscsid has the kernel clean up within milliseconds of an error, or, by a fault of its own, never. */
const owedLooks = 5;
/** A portal that answers again is logged in to in some seven seconds: 3 s to the next try, 3 s for a login. */
const awayLooksToTell = 10;

/** What was seen of a session that is not logged in. */
interface Away {
  /** In a row. */
  readonly looks: number;
  /** In a row: looks at which the kernel waited to be told to clean up. */
  readonly owed: number;
  readonly failure: string | undefined;
}

export interface SessionKeeperParts {
  readonly layout: Layout;
  readonly log: Log;
  /** Whether a volume's data path is being ended. */
  ending(interfaceOf: string): boolean;
}

/**
 * Has sessions go on that would never log in again. The iscsid of open-iscsi 2.1.8 passes over an error that
 * comes while it sets up a connection which it has just handed to the kernel (its issue 387), and the kernel
 * takes no other until it is told to clean up: iscsid connects again and again, and the kernel refuses each
 * (ENOTCONN on bind). So what iscsid left out is done for it. The session, its commands and its disks are
 * what they were, and who may write is the target's to say, as at every login.
 *
 * Not in turn with what else is done of the volume: that may be waiting for this very session.
 */
export class SessionKeeper {
  readonly #parts: SessionKeeperParts;
  readonly #stopped = new AbortController();
  #away: ReadonlyMap<string, Away> = new Map();
  #present: readonly KernelSession[] = [];
  #looking: Promise<void> = Promise.resolve();

  constructor(parts: SessionKeeperParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#looking = this.#lookAgainAndAgain();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#looking;
  }

  /** Why no session of a volume is logged in, if that has lasted; of a portal that answers it is a trouble. */
  trouble(id: VolumeId): UnderstudyError | undefined {
    const own = interfaceName(this.#parts.layout, id);
    const sessions = this.#present.filter((session) => session.interface === own);
    const away = sessions.map(({ name }) => this.#away.get(name));
    const [session] = sessions;
    if (session === undefined || away.some((one) => (one?.looks ?? 0) < awayLooksToTell)) {
      return undefined;
    }
    return sessionError(session, away.find((one) => one?.failure !== undefined)?.failure);
  }

  async #lookAgainAndAgain(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await pause(lookEveryMs, undefined, { signal, ref: false }).catch(() => {});
      if (!signal.aborted) await this.#look();
    }
  }

  async #look(): Promise<void> {
    const prefix = interfacePrefix(this.#parts.layout);
    const present = (await kernelSessions()).filter(
      (session) => session.interface.startsWith(prefix) && isOwnName(session.initiator),
    );
    const away = new Map<string, Away>();
    for (const session of present) {
      const state = await connectionState(session);
      if (state === 'up' || state === '') continue;
      away.set(session.name, await this.#lookAt(session, this.#away.get(session.name)));
    }
    this.#away = away;
    this.#present = present;
  }

  /** At once from question to order: iscsid may do it itself in between, and log in, which takes it far longer. */
  async #lookAt(
    session: KernelSession,
    before: Away = { looks: 0, owed: 0, failure: undefined },
  ): Promise<Away> {
    const { log, ending } = this.#parts;
    const looks = before.looks + 1;
    try {
      if (ending(session.interface) || !(await owesCleanup(session.id))) {
        return { looks, owed: 0, failure: undefined };
      }
      const owed = before.owed + 1;
      if (owed < owedLooks) return { looks, owed, failure: before.failure };
      await cleanUp(session.id);
    } catch (thrown) {
      return { looks, owed: 0, failure: messageOf(thrown) };
    }
    const { name, target } = session;
    log.warn({ session: name, target }, `${name} would not have logged in again: cleaned up`);
    return { looks, owed: 0, failure: undefined };
  }
}

function sessionError({ id, name, target }: KernelSession, why: string | undefined) {
  return new UnderstudyError({
    code: 'US_STORAGE_SESSION',
    action: 'cannot go on with',
    object: target,
    cause: `a portal answers, and ${name} is not logged in${why === undefined ? '' : ` (${why})`}`,
    remedy: `see why in journalctl -u iscsid; iscsiadm -m session -r ${id} --logout ends it, and the agent attaches the volume anew`,
  });
}
