import { constants } from 'node:os';

/** Why a command stopped before it was done: somebody wanted it to. No defect, no failure of ours. */
export class Interrupted extends Error {
  /** 128 and the number of the signal, as shells count: 130 for SIGINT, 143 for SIGTERM. */
  readonly exitCode: number;

  constructor(name: NodeJS.Signals) {
    super(`stopped by ${name}`);
    this.name = 'Interrupted';
    this.exitCode = exitCodeOfSignal(name);
  }
}

function exitCodeOfSignal(name: NodeJS.Signals): number {
  return 128 + (constants.signals[name] ?? 0);
}

/** Aborted by the first SIGINT or SIGTERM: the command stops in good order. The second: at once. */
export function interruptible(): AbortSignal {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(exitCodeOfSignal(name));
    controller.abort(new Interrupted(name));
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return controller.signal;
}

/** The interruption that something thrown is about: itself, or its cause. */
export function interruptionIn(thrown: unknown): Interrupted | undefined {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof Interrupted) return at;
  }
  return undefined;
}
