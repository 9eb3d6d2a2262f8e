import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Test, test } from 'tap';
import { renderMetrics } from '../../src/api/metrics.js';
import { source } from '../api/source.js';
import { root, runProgram } from '../cli/run.js';

const missing = spawnSync('promtool', ['--version']).error !== undefined;
const options = missing ? { skip: 'no promtool here (Debian: prometheus)' } : {};
const rules = 'monitoring/prometheus-alerts.yaml';
const tests = 'test/docs/prometheus-alerts.test.yaml';

async function promtool(t: Test, args: readonly string[], input = ''): Promise<void> {
  const { code, stdout, stderr } = await runProgram('promtool', args, { input });
  t.equal(code, 0, `promtool ${args.join(' ')}`);
  if (code !== 0) t.comment(stdout + stderr);
}

test('the alert rules are valid to Prometheus', options, (t) =>
  promtool(t, ['check', 'rules', '--lint=all', '--lint-fatal', rules]),
);

test('alerts fire on what they are for, and on nothing else', options, (t) =>
  promtool(t, ['test', 'rules', tests]),
);

test('the metrics page has the form and the names that Prometheus asks for', options, async (t) => {
  await promtool(t, ['check', 'metrics'], await renderMetrics(source()));
});

test('what is asked for its rate or growth is a counter, and no other is', async (t) => {
  const page = await renderMetrics(source());
  const types = new Map(
    [...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  );
  const asked = ['monitoring/grafana-dashboard.json', rules].flatMap((path) =>
    [...readFileSync(`${root}${path}`, 'utf8').matchAll(/\b(?:rate|increase)\((\w+)/g)].map(
      ([, name = '']) => name,
    ),
  );
  t.strictSame(
    [...new Set(asked)].sort(),
    [...types].flatMap(([name, type]) => (type === 'counter' ? [name] : [])).sort(),
  );
  t.ok(asked.length >= 6);
});

test('every alert is tried', (t) => {
  const named = (path: string, key: string): string[] => [
    ...new Set(
      [
        ...readFileSync(`${root}${path}`, 'utf8').matchAll(new RegExp(`\\b${key}: (\\w+)`, 'g')),
      ].map(([, name = '']) => name),
    ),
  ];
  t.strictSame(named(tests, 'alertname').sort(), named(rules, 'alert').sort());
  t.end();
});
