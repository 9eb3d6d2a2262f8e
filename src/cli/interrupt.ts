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

/**
 * Runs something that may block the event loop for as long as somebody else likes, such as reading a pipe: for
 * so long a signal ends the process by itself, as it would anyone who never asked for it (signal(7)).
 */
export function killable<T>(work: () => T): T {
  const names = ['SIGINT', 'SIGTERM'] as const;
  const before = names.map((name) => process.listeners(name));
  for (const name of names) process.removeAllListeners(name);
  try {
    return work();
  } finally {
    for (const [index, name] of names.entries()) {
      for (const listener of before[index] ?? []) process.on(name, listener);
    }
  }
}

/** The interruption that something thrown is about: itself, or its cause. */
export function interruptionIn(thrown: unknown): Interrupted | undefined {
  for (let at = thrown, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof Interrupted) return at;
  }
  return undefined;
}
