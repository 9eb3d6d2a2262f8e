import { closeSync, mkdtempSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { longestLogBytes, openLog, trimLog } from '../../src/workload/bounded-log.js';

test('a log over its limit keeps its newest part, and its writer goes on', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-log-`));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'log', 'web1.log');
  const writer = openLog(path);
  writeSync(writer, 'first\n');
  trimLog(path);
  t.equal(readFileSync(path, 'utf8'), 'first\n');
  writeSync(writer, 'x'.repeat(longestLogBytes));
  writeSync(writer, 'newest\n');
  trimLog(path);
  t.equal(statSync(path).size, 0);
  const kept = readFileSync(`${path}.1`, 'utf8');
  t.equal(kept.length, longestLogBytes);
  t.ok(kept.endsWith('newest\n'));
  writeSync(writer, 'after\n');
  t.equal(readFileSync(path, 'utf8'), 'after\n');
  closeSync(writer);
});
