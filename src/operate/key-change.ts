import { UnderstudyError } from '../errors.js';

/**
 * The steps by which every host gets another cluster key, while any two always understand each other.
 * Keys are meant by their names; the first in a file signs, all in it are accepted. Pure.
 *
 * What hosts do not accept any more they tell before they do so, what they accept they tell after; and
 * one that is about to sign by the other key counts as signing by both. So wherever a step is cut short
 * (a kill, a power cut), the keyring claims no more than is true.
 */
export interface HostKeys {
  /** Names; the one that signs first. */
  readonly keys: readonly string[];
  /** Of them the one that was accepted last: what `use` is about, however often it is called. */
  readonly young: string | null;
  /** It may sign by either: `use` is under way, or was cut short. */
  readonly turning?: true;
}

/** One key of the store for all hosts, so that one comparison speaks for all. */
export interface Keyring {
  readonly hosts: Readonly<Record<string, HostKeys>>;
}

export interface KeyStep {
  /** Told before the file is written, only if the keyring is still as it was read. */
  readonly before?: HostKeys;
  readonly file: readonly string[];
  /** Told once pulse has taken the file. */
  readonly after?: HostKeys;
}

/** First step: the new key is accepted, the old one goes on signing. Hurts nobody at any time. */
export function acceptKey(host: string, file: readonly string[], young: string): KeyStep {
  const [signs = '', other] = file;
  if (young === signs) {
    throw refused(host, 'it signs by this key already', 'nothing is to be done here');
  }
  if (other !== undefined && other !== young) {
    const cause = 'another change of keys is not over';
    throw refused(host, cause, 'end that one first: understudy key drop');
  }
  const keys = [signs, young];
  return { file: keys, after: { keys, young } };
}

/**
 * Second step: the new key signs.
 *
 * @param living hosts that may hold a lease now
 * @throws {UnderstudyError} US_KEY_REFUSED as long as one of them would not understand it
 */
export function useKey(
  host: string,
  file: readonly string[],
  keyring: Keyring,
  living: readonly string[],
): KeyStep {
  const [signs = '', other] = file;
  const young = keyring.hosts[host]?.young ?? null;
  // A host that came later with the new key alone is only told to the others; and one that signs by
  // the new key already does not go back, when a call before this one was cut short.
  if (other === undefined) return { file, after: { keys: file, young: null } };
  if (young === signs) return { file, after: { keys: file, young } };
  const missing = living.filter((one) => !keyring.hosts[one]?.keys.includes(other));
  if (missing.length > 0) {
    const cause = `${missing.join(', ')} would not understand it`;
    throw refused(host, cause, 'there first: understudy key accept FILE');
  }
  const keys = [other, signs];
  return { before: { keys: file, young, turning: true }, file: keys, after: { keys, young } };
}

/**
 * Third step: the old key is good for nothing any more.
 *
 * @throws {UnderstudyError} US_KEY_REFUSED as long as a living host signs by it, or may
 */
export function dropKey(
  host: string,
  file: readonly string[],
  keyring: Keyring,
  living: readonly string[],
): KeyStep {
  const [signs = '', other] = file;
  if (other === undefined) {
    throw refused(host, 'it has one key only', 'nothing is to be done here');
  }
  const missing = living.filter((one) => {
    const its = keyring.hosts[one];
    return one !== host && (its?.keys[0] !== signs || its.turning === true);
  });
  if (missing.length > 0) {
    const cause = `${missing.join(', ')} signs by the other key`;
    throw refused(host, cause, 'there first: understudy key use');
  }
  return { before: { keys: [signs], young: null }, file: [signs] };
}

export function refused(object: string, cause: string, remedy: string): UnderstudyError {
  const action = 'cannot change the cluster key on';
  return new UnderstudyError({ code: 'US_KEY_REFUSED', action, object, cause, remedy });
}
