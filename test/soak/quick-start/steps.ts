import { readFileSync } from 'node:fs';
import { root } from '../../cli/run.js';

/** One block of the page, with the comment before it that says who does it. */
export interface Step {
  readonly kind: 'run' | 'set' | 'copy' | 'add';
  /** `each`, `three`, a host's name, or `survivor`; of `add` the host that the line is for. */
  readonly who: string;
  /** Of `copy`: the file. */
  readonly file: string;
  readonly script: string;
  /** `docs/quick-start.md:28`. */
  readonly where: string;
}

const marked = /<!-- (run|set|copy|add): (\S+) ?(\S*) -->\n```\n([\s\S]*?)^```$/gm;

/** docs/quick-start.md as a list of things to do. */
export function steps(): readonly Step[] {
  const path = 'docs/quick-start.md';
  const text = readFileSync(`${root}${path}`, 'utf8');
  const found = [...text.matchAll(marked)].map(
    ({ 1: kind = '', 2: who = '', 3: file = '', 4: script = '', index }) => ({
      kind: kind as Step['kind'],
      who,
      file,
      script,
      where: `${path}:${text.slice(0, index).split('\n').length}`,
    }),
  );
  const fences = text.match(/^```/gm)?.length ?? 0;
  if (fences !== 2 * found.length) throw new Error(`a block of ${path} does not say who does it`);
  return found;
}

/** What the page hands to apt-get for what is to be installed, options too; ours by the path of its file. */
export function packages(all: readonly Step[], deb: string): readonly string[] {
  return all
    .flatMap(({ script }) => [...script.matchAll(/^apt-get install -y (.*)$/gm)])
    .flatMap(([, names = '']) => names.split(' '))
    .map((name) => (name.startsWith('/') ? deb : name));
}
