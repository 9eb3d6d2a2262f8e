import { execFile } from 'node:child_process';
import type { Test } from 'tap';
import type { LunServer } from './lun-server.js';

/**
 * Runs reservation cases of libiscsi's own iscsi-test-cu against a target, and holds them against what
 * is expected: all pass, but for those that docs/reference/storage.md tells of and explains.
 *
 * @param exceptions by name of the case, what it trips over: a regular expression for its words
 */
export async function conforms(
  t: Test,
  server: LunServer,
  families: readonly string[],
  exceptions: Readonly<Record<string, RegExp>>,
): Promise<void> {
  const seen = new Set<string>();
  await Promise.all(
    families.map(async (family, index) => {
      // Cases of two families on one LUN would reserve it from each other.
      const name = `iqn.2026-11.test:${family.toLowerCase()}`;
      server.addTarget({ tid: index + 1, name });
      const url = `iscsi://${server.portal}/${name}/1`;
      const output = await run(['--dataloss', '-V', '-t', `SCSI.${family}`, url]);
      const results = resultsOf(output);
      t.ok(results.size > 0, `${family} ran`);
      for (const [test, words] of results) {
        const which = `${family}.${test}`;
        seen.add(which);
        const expected = exceptions[which];
        if (expected === undefined) t.equal(words, '', which);
        else t.match(words, expected, `${which}: as explained`);
      }
    }),
  );
  for (const which of Object.keys(exceptions)) t.ok(seen.has(which), `${which} was run`);
}

/** What each case failed with; '' for one that passed. Pure. */
export function resultsOf(output: string): ReadonlyMap<string, string> {
  const results = new Map<string, string>();
  for (const part of output.split(/^ {2}Test: /m).slice(1)) {
    const name = part.slice(0, part.indexOf(' '));
    // What follows the verdict is its tidying up.
    const [own = ''] = part.split(/^(?:passed|FAILED)/m);
    const failed = own.split('\n').filter((line) => /\[FAILED\]/.test(line));
    results.set(name, failed.map((line) => line.trim()).join('; '));
  }
  return results;
}

/** Its exit code only repeats what it says. */
function run(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const options = { timeout: 120_000, maxBuffer: 16 * 1024 * 1024 };
    execFile('iscsi-test-cu', args, options, (_failure, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
}
