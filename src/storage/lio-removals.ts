import { spawn } from 'node:child_process';
import { messageOf } from '../errors.js';

/**
 * Takes initiators off LIO for good. Taking a LUN away alone would not do: a write that was announced before
 * is carried out when its data comes, be it much later (test/storage/mask-cases.ts). So then the sessions
 * are ended, which waits for their commands, and the ACL is removed, which waits for all that is left of
 * the initiator, logins under way included (target_core_tpg.c of Linux, target_shutdown_sessions and
 * core_tpg_del_initiator_node_acl). The removal alone would do both, but others could not even look at the ACLs
 * while it waits; a change of the queue's depth ends sessions, too, and locks nothing.
 *
 * A child each: a wait in the kernel, as for a disk that hangs, can be neither bounded nor ended, and would
 * hold one of this process's few threads.
 */
const script = `[ -e "$1" ] || exit 0
cd "$1" || exit 1
links= folders=
for link in lun_*/*; do if [ -L "$link" ]; then links="$links $link"; fi; done
for folder in lun_*; do if [ -d "$folder" ]; then folders="$folders $folder"; fi; done
if [ -n "$links" ]; then rm -f $links; fi
read -r depth < cmdsn_depth
echo $((depth == 1 ? 2 : 1)) > cmdsn_depth
if [ -n "$folders" ]; then rmdir $folders || exit 1; fi
cd /
exec rmdir "$1"`;

/** Undefined: done. */
type Failure = string | undefined;

export class LioRemovals {
  /** By path of the ACL. One that hangs is waited for, not begun again. */
  readonly #running = new Map<string, Promise<Failure>>();

  /** Begins it, unless it was begun before and has not ended. */
  begin(acl: string): Promise<Failure> {
    const running = this.#running.get(acl);
    if (running !== undefined) return running;
    const started = remove(acl).finally(() => this.#running.delete(acl));
    this.#running.set(acl, started);
    return started;
  }

  /** Whether, within this time, none is under way any more below a folder. */
  async settled(folder: string, withinMs: number, signal: AbortSignal): Promise<boolean> {
    const below = [...this.#running].filter(([path]) => path.startsWith(`${folder}/`));
    const all = Promise.all(below.map(([, done]) => done));
    return below.length === 0 || endsWithin(all, withinMs, signal);
  }
}

/** Whether it ends in time, however it does. @throws the signal's reason */
export async function endsWithin(
  work: Promise<unknown>,
  timeMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      then();
    };
    const onAbort = () => settle(() => reject(signal.reason));
    const timer = setTimeout(() => settle(() => resolve(false)), timeMs);
    signal.addEventListener('abort', onAbort, { once: true });
    const ended = () => settle(() => resolve(true));
    work.then(ended, ended);
  });
}

function remove(acl: string): Promise<Failure> {
  return new Promise((resolve) => {
    const child = spawn('sh', ['-c', script, 'sh', acl], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (chunk: string) => {
      said = `${said}${chunk}`.slice(-1_000);
    });
    child.once('error', (thrown) => resolve(messageOf(thrown)));
    child.once('close', (code) => {
      resolve(code === 0 ? undefined : said.trim().split('\n').at(-1) || `exit code ${code}`);
    });
  });
}
