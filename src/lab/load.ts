import { runScript } from './inside.js';

/**
 * Has so many processes burn CPU in the lab, each in a session of its own so that the scheduler's
 * autogroups do not count them as one; those of an earlier call end first.
 */
export async function loadLab(labPid: number, directory: string, processes: number): Promise<void> {
  const list = `${directory}/run/load.pids`;
  // Numbers of the lab's own PID namespace: nothing outside it can be meant.
  const script = `set -e
if [ -e ${list} ]; then
  while read -r pid; do kill -KILL "$pid" 2> /dev/null || :; done < ${list}
  rm ${list}
fi
for one in $(seq ${processes}); do
  setsid sh -c 'while :; do :; done' < /dev/null > /dev/null 2>&1 &
  echo $! >> ${list}
done`;
  await runScript(labPid, 'load the lab', script);
}
