import { open } from 'node:fs/promises';
import { messageOf, UnderstudyError } from '../errors.js';

/** How this host proves itself to a target (RFC 7143 12.1, RFC 1994), as the cluster file says it. */
export interface ChapAccount {
  readonly user: string;
  /** File with the secret, one line, mode 0600. */
  readonly secretFile: string;
  /** What the target must prove itself by. */
  readonly mutual?: { readonly user: string; readonly secretFile: string } | undefined;
}

export interface ChapCredentials {
  readonly user: string;
  readonly secret: string;
  readonly mutual: { readonly user: string; readonly secret: string } | undefined;
}

/** libiscsi keeps names and secrets in 255 bytes. */
const longestSecretBytes = 255;

/**
 * Reads the secrets, at each attach anew: so a changed one needs no restart.
 *
 * @throws {UnderstudyError} US_STORAGE_SECRET
 */
export async function readChap(
  chap: ChapAccount | undefined,
  volume: string,
): Promise<ChapCredentials | undefined> {
  if (chap === undefined) return undefined;
  const secret = await readSecret(chap.secretFile, volume);
  if (chap.mutual === undefined) return { user: chap.user, secret, mutual: undefined };
  const theirs = await readSecret(chap.mutual.secretFile, volume);
  if (theirs === secret) {
    // RFC 7143 9.2.1: then an answer to our own challenge would do as an answer to theirs.
    const cause = 'both directions have the same secret';
    throw secretError(chap.mutual.secretFile, volume, cause, 'give the target one of its own');
  }
  return { user: chap.user, secret, mutual: { user: chap.mutual.user, secret: theirs } };
}

async function readSecret(path: string, volume: string): Promise<string> {
  const refuse = (cause: string, remedy: string) => secretError(path, volume, cause, remedy);
  const write =
    'put the secret there, one line, mode 0600, on every host that may carry the volume';
  let text: string;
  try {
    const file = await open(path, 'r');
    try {
      const { mode, size } = await file.stat();
      if ((mode & 0o077) !== 0) {
        throw refuse('others than its owner may use it', `chmod 0600 ${path}`);
      }
      if (size > longestSecretBytes + 1) throw refuse('it is too long for a secret', write);
      text = await file.readFile('latin1');
    } finally {
      await file.close();
    }
  } catch (thrown) {
    throw thrown instanceof UnderstudyError ? thrown : refuse(messageOf(thrown), write);
  }
  const secret = text.replace(/\n$/, '');
  if (/^[\x21-\x7e]{1,255}$/.test(secret)) return secret;
  throw refuse('it is not one line of printable ASCII without blanks', write);
}

function secretError(path: string, volume: string, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_SECRET',
    action: 'cannot read the CHAP secret of volume',
    object: volume,
    cause: `${path}: ${cause}`,
    remedy,
  });
}
