import { UnderstudyError } from '../errors.js';

export interface Incarnation {
  readonly host: string;
  readonly incarnation: number;
}

const mostWaiting = 256;

/** Requests that wait until pulse acks an incarnation no more, and no promise to it is left. */
export class StopRequests {
  /** By `host/incarnation`. */
  readonly #waiting = new Map<string, ((refused?: UnderstudyError) => void)[]>();

  /** @throws {UnderstudyError} US_PULSE_FULL; rejects with what it is answered with */
  wait(which: Incarnation): Promise<void> {
    const id = idOf(which);
    const waiting = this.#waiting.get(id) ?? [];
    if (waiting.length + this.#waiting.size >= mostWaiting) throw full(which);
    return new Promise((resolve, reject) => {
      waiting.push((refused) => (refused === undefined ? resolve() : reject(refused)));
      this.#waiting.set(id, waiting);
    });
  }

  /** @param refused why the stop will not come; left out: it is in force */
  answer(which: Incarnation, refused?: UnderstudyError): void {
    const id = idOf(which);
    const waiting = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    for (const answer of waiting) answer(refused);
  }
}

const idOf = ({ host, incarnation }: Incarnation): string => `${host}/${incarnation}`;

export function refusal(
  code: `US_${string}`,
  action: string,
  which: Incarnation,
  cause: string,
  remedy: string,
): UnderstudyError {
  return new UnderstudyError({
    code,
    action: `cannot ${action}`,
    object: idOf(which),
    cause,
    remedy,
  });
}

export function unknownHost(which: Incarnation): UnderstudyError {
  const cause = 'no such host in the configuration';
  const remedy = 'send `control` with it';
  return refusal('US_PULSE_UNKNOWN_HOST', 'stop or resume acking', which, cause, remedy);
}

export function full(which: Incarnation): UnderstudyError {
  return new UnderstudyError({
    code: 'US_PULSE_FULL',
    action: 'cannot stop acking',
    object: idOf(which),
    cause: 'too many incarnations of it hold promises, or too many requests wait',
    remedy: 'try again after one lease',
  });
}
