import { existsSync } from 'node:fs';
import type { Role } from '../../api/roles.js';
import { makeToken, readTokenFile, type TokenEntry, writeTokenFile } from '../../api/token-file.js';
import { UnderstudyError } from '../../errors.js';
import { alone } from '../alone.js';
import { table } from '../output.js';

interface TokenOptions {
  readonly file: string;
  readonly json: boolean;
}

const dayMs = 24 * 60 * 60 * 1_000;

export async function add(
  options: TokenOptions & { readonly name: string; readonly role: Role; readonly days: number },
): Promise<number> {
  const { file, json, name, role, days } = options;
  const nowUnixMs = Date.now();
  const expiresUnixMs = nowUnixMs + days * dayMs;
  const { entry, text } = await makeToken({ name, role, nowUnixMs, expiresUnixMs });
  await alone(file, async () => {
    const tokens = existsSync(file) ? readTokenFile(file) : [];
    if (tokens.some((one) => one.name === name)) {
      throw refused(
        'US_TOKEN_EXISTS',
        name,
        `there is one of this name in ${file}`,
        `another name, or first: understudy token remove ${name}`,
      );
    }
    writeTokenFile(file, [...tokens, entry]);
  });
  if (json) {
    process.stdout.write(`${JSON.stringify({ name, role, expiresUnixMs, token: text })}\n`);
    return 0;
  }
  process.stdout.write(`${text}\n`);
  process.stderr.write(
    `${name} may ${role} until ${dayOf(expiresUnixMs)}. The token is shown this once: keep it in a file of mode 0600\n`,
  );
  return 0;
}

export async function list({ file, json }: TokenOptions): Promise<number> {
  const shown = readTokenFile(file).map(({ name, role, createdUnixMs, expiresUnixMs }) => ({
    ...{ name, role, createdUnixMs, expiresUnixMs },
    expired: expiresUnixMs <= Date.now(),
  }));
  if (json) {
    process.stdout.write(`${JSON.stringify(shown)}\n`);
    return 0;
  }
  const rows = shown.map(({ name, role, expiresUnixMs, expired }) => [
    name,
    role,
    expired ? `expired ${dayOf(expiresUnixMs)}` : `until ${dayOf(expiresUnixMs)}`,
  ]);
  process.stdout.write(rows.length === 0 ? `no tokens in ${file}\n` : `${table(rows)}\n`);
  return 0;
}

export async function remove(options: TokenOptions & { readonly name: string }): Promise<number> {
  const { file, json, name } = options;
  // A token that is being added meanwhile must not bring this one back.
  await alone(file, async () => {
    const tokens = readTokenFile(file);
    const others: readonly TokenEntry[] = tokens.filter((one) => one.name !== name);
    if (others.length === tokens.length) {
      throw refused(
        'US_TOKEN_UNKNOWN',
        name,
        `there is none of this name in ${file}`,
        'understudy token list',
      );
    }
    writeTokenFile(file, others);
  });
  process.stdout.write(
    json ? `${JSON.stringify({ name, removed: true })}\n` : `${name} is let in no more\n`,
  );
  return 0;
}

const dayOf = (unixMs: number): string => new Date(unixMs).toISOString().slice(0, 10);

function refused(
  code: 'US_TOKEN_EXISTS' | 'US_TOKEN_UNKNOWN',
  object: string,
  cause: string,
  remedy: string,
): UnderstudyError {
  const action = code === 'US_TOKEN_EXISTS' ? 'cannot make token' : 'cannot remove token';
  return new UnderstudyError({ code, action, object, cause, remedy });
}
