import { randomBytes, scrypt } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../errors.js';
import { type Role, roles } from './roles.js';

export const defaultTokenFile = '/etc/understudy/api-tokens.json';

const hexOf = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`));
const name = z.string().regex(/^[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?$/);

const token = z.strictObject({
  name,
  role: z.enum(roles),
  /** Finds the entry; no secret. */
  id: hexOf(6),
  salt: hexOf(16),
  /** scrypt of the secret. */
  hash: hexOf(32),
  createdUnixMs: z.int().min(0),
  expiresUnixMs: z.int().min(0),
});

const fileSchema = z.strictObject({ tokens: z.array(token).max(1_000) });

export type TokenEntry = z.infer<typeof token>;

const mostBytes = 1024 * 1024;
/** A secret has 256 bits, so nobody tries them all: the cost is for a file that got out. RFC 7914. */
const cost = { N: 16_384, r: 8, p: 1 };
const scryptAsync = promisify<string, Buffer, number, typeof cost, Buffer>(scrypt);

export function hashSecret(secret: string, salt: Buffer): Promise<Buffer> {
  return scryptAsync(secret, salt, 32, cost);
}

/** As a holder presents it. */
const tokenForm = /^us1\.([0-9a-f]{12})\.([A-Za-z0-9_-]{43})$/;

export function takeApart(
  text: string,
): { readonly id: string; readonly secret: string } | undefined {
  const [, id, secret] = (text.length < 100 ? text.match(tokenForm) : null) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

/** @throws {UnderstudyError} US_API_TOKENS: others could use the file, or it is no such file */
export function readTokenFile(path: string): readonly TokenEntry[] {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (thrown) {
    throw unusable(path, messageOf(thrown), 'make one: understudy token add NAME --role read');
  }
  try {
    // Of the file that is read, not of whatever has its name a moment later.
    const { mode, size } = fstatSync(descriptor);
    if ((mode & 0o077) !== 0) {
      throw unusable(path, 'others than its owner may use it', `chmod 0600 ${path}`);
    }
    if (size > mostBytes)
      throw unusable(path, `it has more than ${mostBytes} bytes`, 'remove tokens');
    return fileSchema.parse(JSON.parse(readFileSync(descriptor, 'utf8'))).tokens;
  } catch (thrown) {
    if (thrown instanceof UnderstudyError) throw thrown;
    const cause = thrown instanceof z.ZodError ? 'it is no file of tokens' : messageOf(thrown);
    throw unusable(path, cause, 'let understudy token write it');
  } finally {
    closeSync(descriptor);
  }
}

/** The whole file or nothing, 0600 from its first byte. */
export function writeTokenFile(path: string, tokens: readonly TokenEntry[]): void {
  const beside = `${path}.new-${randomBytes(4).toString('hex')}`;
  try {
    const descriptor = openSync(beside, 'wx', 0o600);
    try {
      writeSync(descriptor, `${JSON.stringify({ tokens }, null, 1)}\n`);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(beside, path);
  } catch (thrown) {
    if (existsSync(beside)) rmSync(beside);
    throw unusable(path, messageOf(thrown), 'check the folder and its rights');
  }
}

export interface NewToken {
  readonly name: string;
  readonly role: Role;
  readonly nowUnixMs: number;
  readonly expiresUnixMs: number;
}

/** @throws {UnderstudyError} US_TOKEN_NAME */
export async function makeToken({
  name: wished,
  role,
  nowUnixMs,
  expiresUnixMs,
}: NewToken): Promise<{
  readonly entry: TokenEntry;
  /** Shown once, kept nowhere. */
  readonly text: string;
}> {
  const parsed = name.safeParse(wished);
  if (!parsed.success) {
    throw new UnderstudyError({
      code: 'US_TOKEN_NAME',
      action: 'cannot name a token',
      object: wished.slice(0, 80),
      cause: 'it is no name of lower-case letters, digits and . _ @ -, at most 64 long',
      remedy: 'write whose it is, e.g. prometheus or alice@ops',
    });
  }
  const id = randomBytes(6).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  const salt = randomBytes(16);
  const hash = (await hashSecret(secret, salt)).toString('hex');
  const times = { createdUnixMs: nowUnixMs, expiresUnixMs };
  const entry = { name: wished, role, id, salt: salt.toString('hex'), hash, ...times };
  return { entry, text: `us1.${id}.${secret}` };
}

function unusable(path: string, cause: string, remedy: string): UnderstudyError {
  const action = 'cannot use the file of API tokens';
  return new UnderstudyError({ code: 'US_API_TOKENS', action, object: path, cause, remedy });
}
