import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, UnderstudyError } from '../errors.js';
import { type PlanTask, readAndPlan } from './read-plan.js';

/** The thread's whole life: one task, one answer. */
try {
  parentPort?.postMessage({ answer: readAndPlan(workerData as PlanTask) });
} catch (thrown) {
  const error = thrown instanceof UnderstudyError ? thrown.toJSON() : { cause: messageOf(thrown) };
  parentPort?.postMessage({ error });
}
