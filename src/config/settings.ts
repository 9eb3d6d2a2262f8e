import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../errors.js';

/**
 * Reads a daemon's own file (YAML or JSON): every wrong key at once.
 *
 * @throws {UnderstudyError} with the given code
 */
export function readSettings<T extends z.ZodType>(
  path: string,
  schema: T,
  code: `US_${string}`,
  where = 'docs/reference/daemons.md lists its keys',
): z.infer<T> {
  try {
    return schema.parse(parse(readFileSync(path, 'utf8')));
  } catch (thrown) {
    const cause =
      thrown instanceof z.ZodError
        ? thrown.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ')
        : messageOf(thrown);
    throw new UnderstudyError({
      code,
      action: 'cannot read configuration',
      object: path,
      cause,
      remedy: `correct it; ${where}`,
    });
  }
}
