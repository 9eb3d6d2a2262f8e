import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { messageOf } from '../errors.js';
import { type ScriptUser, scriptUser } from './script-user.js';

/** A program that is asked whether a member is well. */
export interface ScriptCheck {
  /** Service and member: of each, one process runs at most. */
  readonly id: string;
  readonly namespacePath: string;
  /** The program's absolute path and its arguments; no shell reads them. */
  readonly command: readonly string[];
  /** All that it is told beside its arguments. */
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Whom it runs as, one of this host's own users. Default: nobody. */
  readonly user?: string | undefined;
}

/** Resolves with why the member is not well, undefined when it is; killed when the signal aborts. */
export type AskScript = (check: ScriptCheck, signal: AbortSignal) => Promise<string | undefined>;

/** More than a check has to say; who says more would keep the agent busy. */
const mostOutputBytes = 64 * 1_024;
/** Only the last line is wanted. */
const keptChars = 1_000;
/** It travels in the host's report to every agent. */
const longestLineChars = 200;
/** What left its process group may hold its output open; the last words are not waited for longer. */
const lastWordsMs = 100;

/**
 * Runs checks in the member's own network namespace, as nobody or another user: without capabilities, and without a way to
 * get any (prctl(2), PR_SET_NO_NEW_PRIVS). With its end, or the time's, all of its process group is killed.
 */
export class ScriptChecks {
  /** Killed and not ended yet: they wait for a device. No other is put beside one. */
  readonly #stuck = new Map<string, number>();

  #turn: Promise<void> = Promise.resolve();

  readonly ask: AskScript = async (check, signal) => {
    // Starting a process holds this one up for about 2 ms, and checks of many members may be due at once:
    // one a turn, so that whatever else waits goes in between.
    this.#turn = this.#turn.then(() => setImmediate());
    await this.#turn;
    if (signal.aborted) return 'script: called off';
    const stuck = this.#stuck.get(check.id);
    if (stuck !== undefined) return `script: process ${stuck} was killed and has not ended`;
    const user = scriptUser(check.user);
    if (typeof user === 'string') return `script: ${user}`;
    return this.#run(check, user, signal);
  };

  #run(
    { id, timeoutMs, ...check }: ScriptCheck,
    user: ScriptUser,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    return new Promise((resolve) => {
      const child = start(check, user);
      const output = new LastLine();
      let killed: string | undefined;
      let lastWords: NodeJS.Timeout | undefined;
      const settle = (why: string | undefined) => {
        clearTimeout(timer);
        clearTimeout(lastWords);
        signal.removeEventListener('abort', abort);
        for (const stream of [child.stdout, child.stderr]) stream?.destroy();
        resolve(why);
      };
      const kill = (why: string) => {
        if (killed !== undefined) return;
        killed = why;
        killGroup(child);
        // Not after its end, which a dead disk may hold up.
        if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
          this.#stuck.set(id, child.pid);
        settle(output.told(why));
      };
      const abort = () => kill('called off');
      const timer = setTimeout(() => kill(`no end within ${timeoutMs} ms`), timeoutMs);
      const ended = () => settle(killed ?? output.told(ending(child)));
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (bytes: Buffer) => {
          if (output.add(bytes)) kill(`more than ${mostOutputBytes / 1_024} KiB of output`);
        });
      child.on('error', (thrown) => settle(`script: ${messageOf(thrown)}`));
      child.on('exit', () => {
        this.#stuck.delete(id);
        // What it left in the background. Numbers go round: none is given out again so soon.
        killGroup(child);
        lastWords = setTimeout(ended, lastWordsMs);
      });
      child.on('close', ended);
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
    });
  }
}

function start(
  check: Pick<ScriptCheck, 'namespacePath' | 'command' | 'environment'>,
  { uid, gid, groups }: ScriptUser,
) {
  const words = [
    ...[`--net=${check.namespacePath}`, '--', 'setpriv', `--reuid=${uid}`, `--regid=${gid}`],
    groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`,
    ...['--no-new-privs', '--inh-caps=-all', '--bounding-set=-all'],
    // The agent may be killed, and nobody would end it.
    ...['--pdeathsig=KILL', '--', ...check.command],
  ];
  const child = spawn('nsenter', words, {
    detached: true,
    cwd: '/',
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LANG: 'C.UTF-8',
      ...check.environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (child.pid !== undefined) asOrdinaryWork(child.pid);
  return child;
}

/** The agent's rank is not for what it starts. Where that is refused, the check still counts. */
function asOrdinaryWork(pid: number): void {
  try {
    setPriority(pid, 0);
    writeFileSync(`/proc/${pid}/oom_score_adj`, '0');
  } catch {
    // It has ended already, or this kernel refuses.
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left of it.
  }
}

/** Undefined for success, as a shell has it. */
function ending({ exitCode, signalCode }: ChildProcess): string | undefined {
  if (signalCode !== null) return `signal ${signalCode}`;
  return exitCode === 0 ? undefined : `exit code ${exitCode}`;
}

/** Of all that a check says. */
class LastLine {
  #text = '';
  #bytes = 0;

  /** @returns whether it was too much */
  add(bytes: Buffer): boolean {
    this.#bytes += bytes.length;
    this.#text = (this.#text + bytes.toString('utf8')).slice(-keptChars);
    return this.#bytes > mostOutputBytes;
  }

  /** `why` with the last line; what a terminal could take for an order is left out. */
  told(why: string | undefined): string | undefined {
    if (why === undefined) return undefined;
    const lines = this.#text.split(/[\r\n]+/).map((line) => line.replace(/\p{C}/gu, '?').trim());
    const last = lines.filter((line) => line !== '').at(-1) ?? '';
    return `script: ${why}${last === '' ? '' : `: ${last.slice(0, longestLineChars)}`}`;
  }
}
