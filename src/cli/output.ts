import { UnderstudyError } from '../errors.js';
import { widthOf } from './colour.js';
import { interruptionIn } from './interrupt.js';

/** Columns that line up, two spaces apart; the last one is not padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, widthOf(cell));
    }
  }
  return rows
    .map((row) =>
      row
        .map((cell, index) => (index === row.length - 1 ? cell : padded(cell, widths[index] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function padded(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - widthOf(cell)));
}

/**
 * Text of a file or of another program, fit for a terminal: its control characters (C0, DEL, C1) would
 * colour, move or hide what stands around them. Lines stay lines.
 */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '\ufffd');
}

/**
 * Tells a failure: for people on stderr, and with `--json` also as one object on stdout, so that a
 * program always gets JSON.
 */
export function reportError(thrown: unknown, json: boolean): void {
  const interruption = interruptionIn(thrown);
  if (interruption !== undefined) {
    process.stderr.write(`${interruption.message}\n`);
    return;
  }
  const error =
    thrown instanceof UnderstudyError
      ? thrown
      : new UnderstudyError({
          code: 'US_UNEXPECTED',
          action: 'cannot go on with',
          object: 'this command',
          cause: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
          remedy: 'this is a defect: report it with the text above',
        });
  process.stderr.write(`${printable(error.toText())}\n`);
  if (json) process.stdout.write(`${JSON.stringify({ ok: false, error: error.toJSON() })}\n`);
}

/** Trying again finds the same file: units do not start such a daemon anew (RestartPreventExitStatus=2). */
const wrongUsage: readonly string[] = [
  'US_FILE_UNREADABLE',
  'US_AGENT_CONFIG',
  'US_PULSE_CONFIG',
  'US_PULSE_KEY',
  'US_PULSE_KEY_MODE',
  'US_TARGET_CONFIG',
  'US_SIMULATE_KILL',
  'US_LAB_SCENARIO',
  'US_IMPORT_MAP',
];
const noQuorum: readonly string[] = ['US_STORE_UNREACHABLE'];

/** 4: the store gave no answer, as it does without a quorum. 2: the file that was named. Else 1. */
export function exitCodeOf(thrown: unknown): number {
  const interruption = interruptionIn(thrown);
  if (interruption !== undefined) return interruption.exitCode;
  const code = thrown instanceof UnderstudyError ? thrown.code : '';
  return wrongUsage.includes(code) ? 2 : noQuorum.includes(code) ? 4 : 1;
}
