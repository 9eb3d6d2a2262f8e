import { test } from 'tap';
import { parse } from 'yaml';
import { z } from 'zod';
import { agentSchema } from '../../src/agent/config.js';
import { parseClusterFile } from '../../src/config/parse.js';
import { clusterFileSchema } from '../../src/config/schema.js';
import { parseScenario } from '../../src/lab/scenario.js';
import { stepNames } from '../../src/lab/scenario-steps.js';
import { translationSchema } from '../../src/migrate/translate.js';
import { pulseSchema } from '../../src/pulse/config.js';
import { targetSchema } from '../../src/storage/target-main.js';
import { servedMetrics, sourceText, unknownMetrics } from './metrics.js';
import { blocks, inBackquotes, type Page, page, pages, rows } from './pages.js';

interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly items?: Shape;
  readonly anyOf?: readonly Shape[];
  /** What stands below any name, in a map. */
  readonly additionalProperties?: Shape | boolean;
}

const shapeOf = (schema: z.ZodType): Shape =>
  z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Shape;

/** Keys of an object, of the elements of a list or a map, of any alternative. */
function keysOf(shape: Shape): Readonly<Record<string, Shape>> {
  const { items, additionalProperties: each } = shape;
  const below = [items, typeof each === 'boolean' ? undefined : each, ...(shape.anyOf ?? [])];
  const inner = below.flatMap((one) => (one ? [keysOf(one)] : []));
  return Object.assign({}, shape.properties, ...inner) as Readonly<Record<string, Shape>>;
}

function allKeys(shape: Shape): string[] {
  return Object.entries(keysOf(shape)).flatMap(([key, inner]) => [key, ...allKeys(inner)]);
}

const firstCells = (where: Page, heading: string): string[] =>
  rows(where, heading).flatMap(([first = '']) => inBackquotes(first));

/** A row has its key in the first cell; what is below a key stands in its row, or in rows of its own. */
function untold(shape: Shape, where: Page, heading: string): string[] {
  const cells = rows(where, heading);
  const own = firstCells(where, heading);
  return Object.entries(keysOf(shape)).flatMap(([key, inner]) => {
    const row = cells.find(([first = '']) => inBackquotes(first).includes(key))?.join(' ') ?? '';
    const below = allKeys(inner).filter(
      (name) => !own.some((one) => one.split('.').includes(name)) && !holdsWord(row, name),
    );
    const named = row !== '' || own.some((name) => name.startsWith(`${key}.`));
    return [...(named ? [] : [key]), ...below.map((name) => `${key}.${name}`)];
  });
}

const holdsWord = (text: string, word: string): boolean => new RegExp(`\\b${word}\\b`).test(text);

test('every key of the cluster file is in docs/reference/cluster-file.md, and no other', (t) => {
  const reference = page('docs/reference/cluster-file.md');
  const file = shapeOf(clusterFileSchema);
  for (const [key, shape] of Object.entries(keysOf(file))) {
    if (shape.items?.properties === undefined && key !== 'lab') {
      t.strictSame(untold({ properties: { [key]: shape } }, reference, '## Top level'), [], key);
      continue;
    }
    t.strictSame(untold(shape, reference, `## ${key}`), [], `## ${key}`);
    const strange = firstCells(reference, `## ${key}`).filter(
      (name) => name !== 'power' && !allKeys(shape).includes(name),
    );
    t.strictSame(strange, [], `## ${key}: keys that do not exist`);
  }
  const top = firstCells(reference, '## Top level').filter(
    (name) => name !== 'heartbeat' && name !== 'lease',
  );
  const strange = top.filter(
    (name) => !name.split('.').every((part) => allKeys(file).includes(part)),
  );
  t.strictSame(strange, []);
  t.end();
});

test('every key of the daemons’ files is in docs/reference/daemons.md, and no other', (t) => {
  const reference = page('docs/reference/daemons.md');
  const files = [
    ['## /etc/understudy/agent.yaml', agentSchema],
    ['## /etc/understudy/pulse.yaml', pulseSchema],
    ['## understudy target', targetSchema],
  ] as const;
  for (const [heading, schema] of files) {
    const shape = shapeOf(schema);
    const told = new Set(firstCells(reference, heading));
    const missing = untold(shape, reference, heading).filter(
      (key) => !(heading.endsWith('target') && key.startsWith('store.')),
    );
    t.strictSame(missing, [], heading);
    const strange = [...told].filter(
      (name) => !name.split('.').every((part) => allKeys(shape).includes(part)),
    );
    t.strictSame(strange, [], `${heading}: keys that do not exist`);
  }
  t.end();
});

test('every step of a scenario is in docs/reference/lab.md, and no other', (t) => {
  const told = firstCells(page('docs/reference/lab.md'), '## Scenarios');
  const names = told.map((code) => code.split(':')[0] ?? '').filter((name) => /^\w+$/.test(name));
  t.strictSame([...new Set(names)].sort(), [...stepNames].sort());
  t.end();
});

test('every key of the map to another site is in docs/operations.md', (t) => {
  const { text } = page('docs/operations.md');
  const section = text.slice(text.indexOf('## Another site')).split(/\n## /)[0] ?? '';
  const missing = allKeys(shapeOf(translationSchema)).filter((key) => !holdsWord(section, key));
  t.strictSame(missing, []);
  t.end();
});

/** What a block of YAML is, by what stands in it or in the line above it. */
function faultOf(text: string, before: string): string | undefined {
  const content = parse(text) as Record<string, unknown>;
  const schema = before.includes('pulse.yaml')
    ? pulseSchema
    : before.includes('agent.yaml')
      ? agentSchema
      : before.includes('target.yaml')
        ? targetSchema
        : undefined;
  if (schema !== undefined) return schema.safeParse(content).error?.message;
  if ('addresses' in content) return translationSchema.safeParse(content).error?.message;
  if ('scenario' in content) {
    parseScenario(text, 'page');
    return undefined;
  }
  if (!('cluster' in content)) return undefined;
  const parsed = parseClusterFile(text, 'page');
  return parsed.ok ? undefined : JSON.stringify(parsed.problems);
}

test('every file that a page shows is a valid one', (t) => {
  let seen = 0;
  for (const one of pages()) {
    for (const { where, language, lines } of blocks(one)) {
      if (language !== 'yaml') continue;
      seen += 1;
      const above = one.text.split('\n').slice(0, Number(where.split(':')[1]) - 1);
      const before = above.filter((line) => line !== '').at(-1) ?? '';
      t.equal(faultOf(lines.join('\n'), before), undefined, where);
    }
  }
  t.ok(seen >= 3);
  t.end();
});

test('every metric is in docs/reference/http-api.md, with its labels, and no other', async (t) => {
  const served = await servedMetrics();
  const told = new Set<string>();
  for (const [names = '', labels = ''] of rows(
    page('docs/reference/http-api.md'),
    '## Metrics',
  ).slice(1)) {
    for (const name of inBackquotes(names)) {
      told.add(name);
      if (labels !== 'the same')
        t.strictSame(new Set(inBackquotes(labels)), served.get(name), name);
    }
  }
  t.strictSame(
    [...served.keys()].filter((name) => !told.has(name)),
    [],
    'served and not told',
  );
  t.strictSame(
    [...told].filter((name) => !served.has(name)),
    [],
    'told and not served',
  );
  t.strictSame(
    await unknownMetrics(
      pages()
        .map((one) => one.text)
        .join('\n'),
    ),
    [],
  );
});

test('every error code that a page names exists', (t) => {
  const literals = sourceText();
  for (const { path, text } of pages()) {
    for (const [code] of text.matchAll(/\bUS_[A-Z]+(?:_[A-Z]+)*\b/g))
      if (code !== 'US_LAB')
        t.ok(literals.includes(`'${code}'`) || literals.includes(code), `${path}: ${code}`);
  }
  t.end();
});
