/**
 * The one error that reaches users: a stable code, and the four things a person needs in order to
 * act on it. docs/reference/errors.md lists every code; a test keeps the two in step.
 */
export interface ErrorParts {
  /** Stable, `US_…`. */
  readonly code: `US_${string}`;
  /** What was being done, without the object: "cannot attach volume". */
  readonly action: string;
  /** What it was done to: "web1-data of web1 on h4". */
  readonly object: string;
  /** Why it did not work, with the words of whoever refused. */
  readonly cause: string;
  /** What the reader should do now. */
  readonly remedy: string;
}

export class UnderstudyError extends Error {
  readonly code: `US_${string}`;
  readonly action: string;
  readonly object: string;
  readonly reason: string;
  readonly remedy: string;

  constructor(parts: ErrorParts, options?: { readonly cause?: unknown }) {
    super(`${parts.code}: ${parts.action} ${parts.object}: ${parts.cause}`, options);
    this.name = 'UnderstudyError';
    this.code = parts.code;
    this.action = parts.action;
    this.object = parts.object;
    this.reason = parts.cause;
    this.remedy = parts.remedy;
  }

  /** The form a terminal shows: three lines, aligned. */
  toText(): string {
    return `${this.code}: ${this.action} ${this.object}\n  cause: ${this.reason}\n  do:    ${this.remedy}`;
  }

  toJSON(): Record<string, string> {
    return {
      code: this.code,
      action: this.action,
      object: this.object,
      cause: this.reason,
      do: this.remedy,
    };
  }
}

/** The message of anything that was thrown, for a cause line. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
