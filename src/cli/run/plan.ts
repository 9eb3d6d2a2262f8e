import { scriptWarnings } from '../../doctor/gather-scripts.js';
import { digest, meantFor, refused, undecided } from '../../operate/apply.js';
import { planApply } from '../../plan/plan.js';
import type { Operation, Plan, ServiceShift } from '../../plan/types.js';
import { type ClusterOptions, withCluster } from '../cluster.js';
import { printProblems, readClusterFile } from '../cluster-file.js';
import { table } from '../output.js';

export interface PlanOptions extends ClusterOptions {
  readonly json: boolean;
  readonly file: string;
}

const thereAreChanges = 3;

/** Tells what `apply` would do with a file, and changes nothing. */
export async function run(options: PlanOptions): Promise<number> {
  const parsed = readClusterFile(options.file);
  if (!parsed.ok) {
    printProblems(options.file, parsed.problems, options.json);
    return 2;
  }
  return withCluster(options, async (cluster) => {
    meantFor(cluster.name, parsed.config, options.file);
    const wanted = cluster.fit(parsed.config);
    const decided = planApply(await cluster.view(), wanted, digest);
    if (decided.kind === 'undecided') throw undecided(decided.network, decided.hosts);
    if (decided.kind === 'refused') throw refused(wanted.cluster, decided);
    const warnings = [...decided.plan.warnings, ...scriptWarnings(wanted)];
    const plan = { ...decided.plan, warnings };
    process.stdout.write(options.json ? `${JSON.stringify(plan)}\n` : `${planText(plan)}\n`);
    return plan.changes ? thereAreChanges : 0;
  });
}

const signs: Readonly<Record<Operation['action'], string>> = {
  add: '+',
  put: '+',
  change: '~',
  remove: '-',
  delete: '-',
};

/** Store first, then a paragraph a host: what is done, and under it why, once for what has one reason. */
export function planText(plan: Plan): string {
  const { from, to } = plan.generation;
  if (!plan.changes)
    return `${plan.cluster} is as the file says (generation ${from}): nothing to do`;
  const places = [...new Set(plan.operations.map(({ at }) => at))];
  return [
    `${plan.cluster}: generation ${from} → ${to}`,
    ...places.map((place) =>
      paragraph(
        place,
        plan.operations.filter(({ at }) => at === place),
      ),
    ),
    ...plan.services.map(shiftText),
    ...plan.warnings.map((warning) => `warning: ${warning}`),
    totals(plan, places),
  ].join('\n\n');
}

function paragraph(place: string, operations: readonly Operation[]): string {
  const rows = operations.map(({ kind, action, object, text, why }) =>
    place === 'store'
      ? [`  ${signs[action]}`, object, text, why]
      : [`  ${signs[action]}`, kind, action === 'remove' ? object : text, why],
  );
  // One reason for several operations in a row is said once.
  const told = rows.map((row, index) => (row[3] === rows[index - 1]?.[3] ? row.slice(0, 3) : row));
  return `${place}\n${table(told)}`;
}

function shiftText({ service, change, slotsMoved, slots }: ServiceShift): string {
  const percent = ((100 * slotsMoved) / slots).toFixed(1);
  const what =
    change === 'changed'
      ? `${slotsMoved} of ${slots} slots (${percent} %) go to another member`
      : change === 'new'
        ? `new, all ${slots} slots are dealt`
        : 'removed, with all its slots';
  return `service ${service}: ${what}; live flows are not told (dispatchers count flows that begin, not those that live)`;
}

function totals({ operations }: Plan, places: readonly string[]): string {
  const hosts = places.filter((place) => place !== 'store' && place !== 'target').length;
  const writes = operations.filter(({ kind }) => kind === 'store').length;
  return [
    count(operations.length - writes, 'operation'),
    `on ${count(hosts, 'host')}${places.includes('target') ? ' and at the iSCSI target' : ''},`,
    `${count(writes, 'write')} to the store; understudy apply does it`,
  ].join(' ');
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
