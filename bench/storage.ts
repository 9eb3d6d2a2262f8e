import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { guestMissing, runInGuest } from '../test/uml/guest.js';
import { machine } from './machine.js';
import { intoPage, table } from './markdown.js';
import type { Round } from './storage-rounds.js';

/**
 * How long a takeover's storage step takes, and the fence by reservation, apart from all else.
 *
 * `npm run bench:storage`; `--rounds N`, `--page` writes docs/benchmarks.md.
 */
const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '30' }, page: { type: 'boolean', default: false } },
});
const program = new URL('./storage-rounds.js', import.meta.url).pathname;
const modules = ['configfs', 'target_core_mod', 'target_core_file', 'iscsi_target_mod'];

function here(): readonly Round[] {
  const output = execFileSync(process.execPath, [program, 'tgt', values.rounds], {
    ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  });
  return JSON.parse(output) as Round[];
}

async function inGuest(kind: 'lio' | 'kernel', fence = ''): Promise<readonly Round[]> {
  const { code, output } = await runInGuest({
    command: [process.execPath, program, kind, values.rounds, fence],
    workingDirectory: new URL('../..', import.meta.url).pathname,
    ...{ modules: [...modules, 'fuse', 'loop', 'ext4', 'iscsi_tcp', 'sd_mod'], timeoutMs: 200_000 },
  });
  const measured = output.split('\n').find((line) => line.startsWith('[{'));
  if (code !== 0 || measured === undefined) throw new Error(`the guest failed:\n${output}`);
  return JSON.parse(measured) as Round[];
}

function row(what: string, values: readonly number[]): readonly string[] {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
  const shown = [at(0.5), at(0.9), sorted[0], sorted.at(-1)];
  return [what, String(sorted.length), ...shown.map((value) => (value ?? Number.NaN).toFixed(0))];
}

function steps(rounds: readonly Round[]): string {
  const names = Object.keys(rounds[0]?.stepsMs ?? {});
  const medians = names.map((name) => {
    const sorted = rounds.map(({ stepsMs }) => stepsMs[name] ?? 0).sort((a, b) => a - b);
    return `${name} ${(sorted[Math.floor(sorted.length / 2)] ?? Number.NaN).toFixed(1)}`;
  });
  return medians.join(', ');
}

const tgt = here();
const rows = [
  row(
    'storage step, tgt, on this kernel',
    tgt.map(({ attachMs }) => attachMs),
  ),
];
const notes = [`Steps on tgt, medians in ms (the first two side by side): ${steps(tgt)}.`];
const missing = guestMissing();
if (missing === undefined) {
  const lio = await inGuest('lio');
  const fences = lio.flatMap(({ fenceMs }) => fenceMs ?? []);
  rows.push(row('fence by reservation, LIO, in a guest', fences));
  rows.push(
    row(
      'storage step, LIO, in the same guest',
      lio.map(({ attachMs }) => attachMs),
    ),
  );
  for (const fence of ['mask', 'reservation']) {
    const kernel = await inGuest('kernel', fence);
    const fenced = kernel.flatMap(({ fenceMs }) => fenceMs ?? []);
    const what = `backend kernel, LIO, ${fence}, in a guest`;
    if (fenced.length > 0) rows.push(row(`fence, ${what}`, fenced));
    rows.push(
      row(
        `storage step, ${what}`,
        kernel.map(({ attachMs }) => attachMs),
      ),
    );
    notes.push(`Steps of ${what}: ${steps(kernel)}.`);
  }
} else notes.push(`No guest: ${missing}.`);
const text = [
  table(['ms', 'rounds', 'median', 'p90', 'min', 'max'], rows),
  '',
  ...notes,
  '',
  `${machine}; \`npm run bench:storage\`.`,
].join('\n');
console.log(text);
if (values.page) intoPage(new URL('../../docs/benchmarks.md', import.meta.url), 'storage', text);
