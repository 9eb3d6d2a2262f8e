import type { LoopParts } from './loop.js';

/** What hangs has to wait its turn like everybody else. */
const longestMs = 500;

/** Lets this program go before others of its host while somebody waits for it, and no longer. */
export class Hurry {
  readonly #parts: LoopParts;
  readonly #goFirst: (yes: boolean) => void;
  #under = 0;
  #refused = false;

  /** @param goFirst asks for that, or takes it back; may throw */
  constructor(parts: LoopParts, goFirst: (yes: boolean) => void) {
    this.#parts = parts;
    this.#goFirst = goFirst;
  }

  /** From now on, until what is returned is called; several at a time are one. Never throws. */
  begin(): () => void {
    if (this.#under++ === 0) this.#set(true);
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      cancel();
      if (--this.#under === 0) this.#set(false);
    };
    const cancel = this.#parts.timers.after(longestMs, end, { background: true });
    return end;
  }

  #set(yes: boolean): void {
    if (this.#refused) return;
    try {
      this.#goFirst(yes);
    } catch (thrown) {
      this.#refused = true;
      this.#parts.log.warn({ error: thrown }, 'no priority for what is urgent; going on without');
    }
  }
}
