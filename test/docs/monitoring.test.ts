import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { parse } from 'yaml';
import { root } from '../cli/run.js';
import { servedMetrics, unknownMetrics } from './metrics.js';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly gridPos: {
      readonly x: number;
      readonly y: number;
      readonly w: number;
      readonly h: number;
    };
    readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
  readonly annotations: {
    readonly list: readonly { readonly expr: string; readonly titleFormat: string }[];
  };
}

const alerts = readFileSync(`${root}monitoring/prometheus-alerts.yaml`, 'utf8');
const dashboard = readFileSync(`${root}monitoring/grafana-dashboard.json`, 'utf8');
const { groups } = parse(alerts) as { groups: readonly { readonly rules: readonly Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const { panels, annotations } = JSON.parse(dashboard) as Dashboard;
type Drawn = readonly [expr: string, text: string];
const drawn: readonly Drawn[] = [
  ...panels.flatMap(({ targets }) =>
    targets.map(({ expr, legendFormat }): Drawn => [expr, legendFormat]),
  ),
  ...annotations.list.map(({ expr, titleFormat }): Drawn => [expr, titleFormat]),
];
const warned = rules.map(
  ({ expr, annotations: { summary, description } }): Drawn => [expr, `${summary} ${description}`],
);

test('every metric, label and value in rules and dashboard is served', async (t) => {
  const served = await servedMetrics();
  for (const [expr, text] of [...drawn, ...warned]) {
    t.strictSame(await unknownMetrics(expr), [], expr);
    const names = [...expr.matchAll(/understudy_\w+/g)].map(([name]) => name);
    t.ok(names.length > 0, expr);
    const grouped = [...expr.matchAll(/by \(([^)]*)\)/g)].map(([, list = '']) => list.split(', '));
    const kept = grouped[0] ?? [
      'instance',
      ...names.flatMap((name) => [...(served.get(name) ?? [])]),
    ];
    for (const labels of grouped)
      for (const label of labels)
        t.ok(
          label === 'instance' || names.every((name) => served.get(name)?.has(label)),
          `${label} in ${expr}`,
        );
    for (const [, label = ''] of text.matchAll(/\{\{ ?(?:\$labels\.)?(\w+) ?\}\}/g))
      t.ok(kept.includes(label), `{{${label}}} of ${expr}`);
    for (const [open, close] of ['()', '{}', '[]'])
      t.equal(expr.split(open ?? '').length, expr.split(close ?? '').length, expr);
  }
});

test('every metric is drawn or warned of', async (t) => {
  const text = [...drawn, ...warned].map(([expr]) => expr).join('\n');
  const left = [...(await servedMetrics()).keys()].filter((name) => !text.includes(name));
  t.strictSame(left, []);
});

test('alerts are named apart, and say what to do', (t) => {
  t.equal(new Set(rules.map(({ alert }) => alert)).size, rules.length);
  for (const { alert, labels, annotations: said } of rules) {
    t.match(alert, /^Understudy[A-Z]\w+$/);
    t.ok(['critical', 'warning', 'info'].includes(labels.severity), alert);
    t.match([said.summary, said.description], [/\S/, /\.$|understudy/], alert);
  }
  t.end();
});

test('panels do not cover one another', (t) => {
  const overlaps = panels.flatMap((a, index) =>
    panels.slice(index + 1).filter((b) => {
      const [p, q] = [a.gridPos, b.gridPos];
      return p.x < q.x + q.w && q.x < p.x + p.w && p.y < q.y + q.h && q.y < p.y + p.h;
    }),
  );
  t.strictSame(
    overlaps.map(({ title }) => title),
    [],
  );
  t.end();
});
