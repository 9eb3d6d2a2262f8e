import { createHmac } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { messageOf, UnderstudyError } from '../errors.js';

const shortestKeyBytes = 32;
/** One to sign with, and the one before or after it while keys are changed. */
const mostKeys = 2;

/**
 * The cluster's keys: packets are signed by the first and taken when signed by any. So a key is changed
 * with no moment at which two pulses do not understand each other.
 */
export class ClusterKeys {
  readonly #read: () => readonly [Buffer, ...Buffer[]];
  #keys: readonly [Buffer, ...Buffer[]];

  /** @throws {UnderstudyError} US_PULSE_KEY, US_PULSE_KEY_MODE */
  constructor(read: () => readonly [Buffer, ...Buffer[]]) {
    this.#read = read;
    this.#keys = read();
  }

  /** @throws {UnderstudyError} US_PULSE_KEY, US_PULSE_KEY_MODE */
  static of(file: string): ClusterKeys {
    return new ClusterKeys(() => readClusterKeys(file));
  }

  get signs(): Buffer {
    return this.#keys[0];
  }

  get accepts(): readonly Buffer[] {
    return this.#keys;
  }

  /** Takes what is in the file now. Where that is no good, the former ones stay. */
  reload(): readonly string[] {
    this.#keys = this.#read();
    return this.names;
  }

  get names(): readonly string[] {
    return this.#keys.map(keyName);
  }
}

/** The whole file or nothing, 0600 from its first byte. */
export function writeClusterKeys(file: string, keys: readonly Buffer[]): void {
  const beside = `${file}.new-${process.pid}`;
  const descriptor = openSync(beside, 'wx', 0o600);
  try {
    for (const key of keys) writeSync(descriptor, Buffer.concat([key, Buffer.from('\n')]));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(beside, file);
}

/** Tells keys apart and nothing about them. */
export function keyName(key: Buffer): string {
  return createHmac('sha256', key)
    .update('name of an understudy cluster key')
    .digest('hex')
    .slice(0, 12);
}

/**
 * A file with one key (its bytes without white space at the end), or with a key a line, the first of which
 * signs. Only lines of 32 printable characters or more, without a space, are keys of their own, so that a
 * key of random bytes stays one.
 */
export function splitKeys(content: Buffer): readonly Buffer[] {
  let end = content.length;
  while (end > 0 && ' \t\r\n'.includes(String.fromCharCode(content[end - 1] ?? 0))) end--;
  const whole = content.subarray(0, end);
  const lines = whole.toString('latin1').split(/\r?\n/);
  const several = lines.length > 1 && lines.every((line) => /^[!-~]{32,}$/.test(line));
  return several ? lines.map((line) => Buffer.from(line, 'latin1')) : [whole];
}

/**
 * What is in the file of the cluster's key.
 *
 * @throws {UnderstudyError} US_PULSE_KEY, US_PULSE_KEY_MODE
 */
export function readClusterKeys(file: string): readonly [Buffer, ...Buffer[]] {
  const refuse = (code: 'US_PULSE_KEY' | 'US_PULSE_KEY_MODE', cause: string, remedy: string) =>
    new UnderstudyError({ code, action: 'cannot use cluster key', object: file, cause, remedy });
  const make = `make one on one host (head -c 32 /dev/urandom | base64 > ${file}; chmod 0600 ${file}) and copy it to the others`;
  let mode: number;
  let content: Buffer;
  try {
    mode = statSync(file).mode & 0o777;
    content = readFileSync(file);
  } catch (thrown) {
    throw refuse('US_PULSE_KEY', messageOf(thrown), make);
  }
  if ((mode & 0o077) !== 0) {
    const text = mode.toString(8).padStart(4, '0');
    throw refuse(
      'US_PULSE_KEY_MODE',
      `its mode is ${text}: others than its owner may use it`,
      `chmod 0600 ${file}; if others could read it, make a new key for the whole cluster`,
    );
  }
  const [first = Buffer.alloc(0), ...others] = splitKeys(content);
  if (first.length < shortestKeyBytes) {
    throw refuse(
      'US_PULSE_KEY',
      `${first.length} bytes; at least ${shortestKeyBytes} are needed`,
      make,
    );
  }
  if (others.length >= mostKeys) {
    throw refuse('US_PULSE_KEY', `it has ${others.length + 1} keys`, `leave ${mostKeys} at most`);
  }
  return [first, ...others];
}
