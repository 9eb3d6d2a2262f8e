/**
 * Who is to be told when a signal aborts. One listener for each signal, however many wait on it:
 * a network's forwarding entries are hundreds of requests under one signal.
 */
export class CallOffs<T> {
  readonly #calledOff: (waiting: T) => void;
  readonly #signals = new Map<AbortSignal, { waiting: Set<T>; onAbort: () => void }>();

  constructor(calledOff: (waiting: T) => void) {
    this.#calledOff = calledOff;
  }

  add(signal: AbortSignal, one: T): void {
    const known = this.#signals.get(signal);
    if (known !== undefined) {
      known.waiting.add(one);
      return;
    }
    const waiting = new Set([one]);
    const onAbort = () => {
      for (const each of [...waiting]) this.#calledOff(each);
    };
    this.#signals.set(signal, { waiting, onAbort });
    signal.addEventListener('abort', onAbort, { once: true });
  }

  delete(signal: AbortSignal, one: T): void {
    const known = this.#signals.get(signal);
    known?.waiting.delete(one);
    if (known === undefined || known.waiting.size > 0) return;
    signal.removeEventListener('abort', known.onAbort);
    this.#signals.delete(signal);
  }
}
