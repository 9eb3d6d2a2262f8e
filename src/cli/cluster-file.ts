import { closeSync, openSync, readSync } from 'node:fs';
import { type Parsed, type Problem, parseClusterFile } from '../config/parse.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { killable } from './interrupt.js';
import { printable } from './output.js';

/** One byte more than a cluster file may have: the parser tells what is too large. */
const mostBytes = 1024 * 1024 + 1;

/**
 * Reads a file, or a pipe, but not for ever: `validate /dev/zero` ends.
 *
 * @throws US_FILE_UNREADABLE
 */
export function readBounded(path: string): string {
  try {
    return killable(() => read(path));
  } catch (thrown) {
    throw new UnderstudyError({
      code: 'US_FILE_UNREADABLE',
      action: 'cannot read',
      object: path,
      cause: messageOf(thrown),
      remedy: 'check the path and its permissions',
    });
  }
}

function read(path: string): string {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(mostBytes);
    let length = 0;
    while (length < mostBytes) {
      const got = readSync(file, buffer, length, mostBytes - length, null);
      if (got === 0) break;
      length += got;
    }
    return buffer.toString('utf8', 0, length);
  } finally {
    closeSync(file);
  }
}

/** @throws US_FILE_UNREADABLE */
export function readClusterFile(path: string): Parsed {
  return parseClusterFile(readBounded(path), path);
}

/** One problem a paragraph, in the form that editors jump to: FILE:LINE:COLUMN. */
export function printProblems(file: string, problems: readonly Problem[], json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ ok: false, problems })}\n`);
    return;
  }
  for (const problem of problems) process.stderr.write(`${paragraph(file, problem)}\n`);
  process.stderr.write(
    `${problems.length === 1 ? 'one problem' : `${problems.length} problems`}; nothing was changed\n`,
  );
}

/** What is allowed and yet probably not meant. */
export function printWarnings(file: string, warnings: readonly Problem[]): void {
  for (const warning of warnings) {
    process.stderr.write(`${paragraph(file, { ...warning, what: `warning: ${warning.what}` })}\n`);
  }
}

function paragraph(file: string, { path, line, column, what, write }: Problem): string {
  const where = path === '' ? '' : `${path}: `;
  return printable(`${file}:${line}:${column}: ${where}${what}\n  do: ${write}`);
}
