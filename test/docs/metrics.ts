import { readdirSync, readFileSync } from 'node:fs';
import { renderMetrics } from '../../src/api/metrics.js';
import { source } from '../api/source.js';
import { root } from '../cli/run.js';

/** Each metric that an agent serves, with its labels. */
export async function servedMetrics(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const text = await renderMetrics(source());
  const served = new Map<string, Set<string>>();
  for (const [, name = ''] of text.matchAll(/^# TYPE (\S+)/gm)) served.set(name, new Set());
  for (const [, name = '', labels = ''] of text.matchAll(/^(understudy_\w+)\{([^}]*)\}/gm))
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) served.get(name)?.add(label);
  return served;
}

/** Metrics, labels and label values that a text names and nothing serves. */
export async function unknownMetrics(text: string): Promise<readonly string[]> {
  const served = await servedMetrics();
  const literals = sourceText();
  return [...text.matchAll(/\b(understudy_\w+)(?:\{([^}]*)\})?/g)].flatMap(
    ([named, name = '', selector = '']) => {
      const labels = served.get(name);
      const known = [...selector.matchAll(/(\w+)=~?\\?"([^"\\]*)/g)].every(
        ([, label = '', values = '']) =>
          labels?.has(label) && values.split('|').every((value) => literals.includes(`'${value}'`)),
      );
      return labels !== undefined && known ? [] : [named];
    },
  );
}

export function sourceText(): string {
  return readdirSync(`${root}src`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(`${root}src/${name}`, 'utf8'))
    .join('\n');
}
