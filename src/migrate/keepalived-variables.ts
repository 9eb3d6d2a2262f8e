/** What all uses together may add to a file: variables in variables grow without end. */
const mostAdded = 1_048_576;

const use = /\$(?:\{(\w+)\}|(\w+))/g;

/** `$NAME=VALUE`, `$NAME` and `@HOST …` of keepalived.conf(5), line by line. */
export class Variables {
  readonly #values = new Map<string, string>();
  #added = 0;

  /** @returns the line as it counts: empty where it defines a variable */
  read(line: string): { readonly text: string; readonly faults: readonly string[] } {
    const faults: string[] = [];
    const [, host, rest = line] = /^\s*@(\^?\S+)\s+(.*)$/.exec(line) ?? [];
    if (host !== undefined) faults.push(`@${host}: it is for some hosts alone; here it is for all`);
    const [, name, value = ''] = /^\s*\$(\w+)\s*=(.*)$/.exec(rest) ?? [];
    const text = this.#expand(name === undefined ? rest : withoutComment(value).trim(), faults);
    if (name === undefined) return { text, faults };
    // Of values for several hosts the first is as good as any.
    if (host === undefined || !this.#values.has(name)) this.#values.set(name, text);
    return { text: '', faults };
  }

  #expand(text: string, faults: string[]): string {
    const code = withoutComment(text);
    return code.replace(use, (all, braced?: string, bare?: string) => {
      const value = this.#values.get(braced ?? bare ?? '');
      if (value === undefined) {
        faults.push(`${all} is not defined in this file`);
        return all;
      }
      this.#added += value.length;
      if (this.#added <= mostAdded) return value;
      faults.push(`${all}: its variables make the file too long`);
      return all;
    });
  }
}

/** `#` and `!` begin a comment, but not within quotes or a word. */
function withoutComment(line: string): string {
  let quote = '';
  let before = ' ';
  for (const [index, character] of line.split('').entries()) {
    if (quote !== '') quote = character === quote ? '' : quote;
    else if (`"'`.includes(character)) quote = character;
    else if ('#!'.includes(character) && /[\s{}]/.test(before)) return line.slice(0, index);
    before = character;
  }
  return line;
}
