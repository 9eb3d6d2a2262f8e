import { Worker } from 'node:worker_threads';
import { UnderstudyError } from '../errors.js';
import type { PlanAnswer, PlanTask } from './read-plan.js';

const longestMs = 20_000;
const mostMemoryMb = 512;

interface Told {
  readonly answer?: PlanAnswer;
  readonly error?: Readonly<Record<string, string>>;
}

/**
 * `readAndPlan` in a thread of its own, within bounds of time and memory: an agent that votes and takes
 * over must not wait for somebody's file.
 */
export function planInThread(task: PlanTask): Promise<PlanAnswer> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./plan-worker.js', import.meta.url), {
      workerData: task,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: mostMemoryMb },
    });
    const timer = setTimeout(
      () => end(() => reject(failed(`not within ${longestMs} ms`))),
      longestMs,
    );
    const end = (tell: () => void): void => {
      clearTimeout(timer);
      worker.removeAllListeners();
      worker.on('error', () => {}); // nobody waits for it any more
      void worker.terminate();
      tell();
    };
    worker.once('message', ({ answer, error }: Told) =>
      end(() => (answer === undefined ? reject(again(error ?? {})) : resolve(answer))),
    );
    worker.once('error', (error) => end(() => reject(failed(error.message))));
    worker.once('exit', (code) => end(() => reject(failed(`it ended with ${code}`))));
  });
}

/** The error as it was in the thread. */
function again({
  code,
  action,
  object,
  cause = '',
  do: remedy,
}: Readonly<Record<string, string>>): Error {
  if (code === undefined || action === undefined || object === undefined || remedy === undefined)
    return failed(cause);
  return new UnderstudyError({ code: code as `US_${string}`, action, object, cause, remedy });
}

function failed(cause: string): UnderstudyError {
  const [action, object] = ['cannot plan', 'this cluster file'];
  const remedy = 'on a host: understudy plan FILE';
  return new UnderstudyError({ code: 'US_API_FILE', action, object, cause, remedy });
}
