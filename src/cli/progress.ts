import type { Timers } from '../store/timers.js';

/** Where progress is told: stderr, or a test's stand-in. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Nothing is told of what is quicker than this. */
const patienceMs = 1_000;
/** Without a terminal a line is written when something has changed, and at most this often. */
const lineEveryMs = 1_000;
const barWidth = 24;
const clearLine = '\r\x1b[K';

/**
 * How far a command is, on stderr, once it takes over a second: a bar that moves on a terminal, plain
 * lines elsewhere (a log of them is read later: no line is ever overwritten there).
 */
export class Progress {
  readonly #what: string;
  readonly #stream: ProgressStream;
  readonly #timers: Timers;
  #state: { readonly done: number; readonly total: number; readonly text: string } | undefined;
  #begun = false;
  #told = '';
  #drawn = false;
  #cancel: () => void;

  constructor(what: string, stream: ProgressStream, timers: Timers) {
    this.#what = what;
    this.#stream = stream;
    this.#timers = timers;
    this.#cancel = timers.after(patienceMs, () => this.#begin(), { background: true });
  }

  /** @param text what is being waited for or worked on, in a few words */
  set(done: number, total: number, text: string): void {
    this.#state = { done, total, text };
    if (this.#begun && this.#stream.isTTY) this.#draw();
  }

  /** Takes the bar away; what was written as lines stays. */
  end(): void {
    this.#cancel();
    if (this.#drawn) this.#stream.write(clearLine);
    this.#drawn = false;
    this.#begun = false;
  }

  #begin(): void {
    this.#begun = true;
    if (this.#stream.isTTY) this.#draw();
    else this.#line();
  }

  #draw(): void {
    this.#stream.write(`${clearLine}${progressText(this.#what, this.#state, true)}`);
    this.#drawn = true;
  }

  #line(): void {
    const line = progressText(this.#what, this.#state, false);
    if (line !== this.#told) this.#stream.write(`${line}\n`);
    this.#told = line;
    this.#cancel = this.#timers.after(lineEveryMs, () => this.#line(), { background: true });
  }
}

export function progressText(
  what: string,
  state: { readonly done: number; readonly total: number; readonly text: string } | undefined,
  bar: boolean,
): string {
  if (state === undefined || state.total === 0) return `${what} …`;
  const { done, total, text } = state;
  const filled = Math.round((barWidth * Math.min(done, total)) / total);
  const drawn = bar ? `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} ` : '';
  return `${what} ${drawn}${done}/${total}${text === '' ? '' : `  ${text}`}`;
}
