import { readFileSync } from 'node:fs';
import { type Parsed, type Problem, parseClusterFile } from '../config/parse.js';
import { messageOf, UnderstudyError } from '../errors.js';

/** @throws US_FILE_UNREADABLE */
export function readClusterFile(path: string): Parsed {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new UnderstudyError({
      code: 'US_FILE_UNREADABLE',
      action: 'cannot read',
      object: path,
      cause: messageOf(thrown),
      remedy: 'check the path and its permissions',
    });
  }
  return parseClusterFile(text, path);
}

/** One problem a paragraph, in the form that editors jump to: FILE:LINE:COLUMN. */
export function printProblems(file: string, problems: readonly Problem[], json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ ok: false, problems })}\n`);
    return;
  }
  for (const { path, line, column, what, write } of problems) {
    const where = path === '' ? '' : `${path}: `;
    process.stderr.write(`${file}:${line}:${column}: ${where}${what}\n  do: ${write}\n`);
  }
  process.stderr.write(
    `${problems.length === 1 ? 'one problem' : `${problems.length} problems`}; nothing was changed\n`,
  );
}
