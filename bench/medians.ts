/** Rounds in which all are measured once, one after the other: what disturbs one disturbs all. */
export function interleaved<Name extends string>(
  rounds: number,
  measures: Readonly<Record<Name, () => number>>,
): Record<Name, number> {
  const names = Object.keys(measures) as Name[];
  const seen = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) seen.get(name)?.push(measures[name]());
  }
  const entries = names.map((name) => [name, median(seen.get(name) ?? [])] as const);
  return Object.fromEntries(entries) as Record<Name, number>;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '-'), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
