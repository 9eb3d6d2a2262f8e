import { page, rows } from '../docs/pages.js';

/** What a row of the table promises, in the words of its legend. */
export interface Promised {
  /** `unit: what is done`. */
  readonly id: string;
  readonly personality: string;
  readonly workload: string;
  readonly disk: string;
  readonly process: string;
}

/** The words that a cell may have. */
export const words = {
  personality: ['0 lost', 'moves'],
  workload: ['same', 'anew'],
  disk: ['same', 'anew'],
  process: ['same', 'anew', 'none'],
} as const;

/** A page's "Units": what a test of the units is held to, there of containers. */
export function promises(of = 'docs/what-happens-when.md'): readonly Promised[] {
  return rows(page(of), '## Units')
    .filter((cells) => cells.length === 7 && cells[0] !== 'unit')
    .map(([unit, done = '', personality = '', workload = '', disk = '', process = '']) => ({
      id: `${unit}: ${done.replaceAll('`', '')}`,
      ...{ personality, workload, disk, process },
    }));
}
