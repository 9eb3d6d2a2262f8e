import type { Directive } from './keepalived-parse.js';

/** How a member is asked, apart from how often. */
export type Check = { readonly tcp: number } | { readonly http: number; readonly path: string };

export interface FoundCheck {
  readonly check: Check;
  readonly by: Directive;
  /** The lines that say so. */
  readonly from: readonly Directive[];
}

const below = (one: Directive | undefined, word: string): Directive | undefined =>
  one?.block.find(({ words }) => words[0] === word);

/** The first check of a real server that there is here too. `port` is the one that it serves. */
export function checkOf(real: Directive, port: string): FoundCheck | undefined {
  for (const by of real.block) {
    const [kind] = by.words;
    if (kind !== 'TCP_CHECK' && kind !== 'HTTP_GET') continue;
    const connect = below(by, 'connect_port');
    const asked = Number(connect?.words[1] ?? port);
    const from = [by, ...(connect === undefined ? [] : [connect])];
    if (kind === 'TCP_CHECK') return { check: { tcp: asked }, by, from };
    const url = below(by, 'url');
    const path = below(url, 'path');
    const ways = [url, path].filter((one) => one !== undefined);
    return { check: { http: asked, path: path?.words[1] ?? '/' }, by, from: [...from, ...ways] };
  }
  return undefined;
}
