/** A name as cluster files have it: RFC 1123, at most 40 long. */
export function label(text: string): string {
  const plain = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '');
  return plain === '' ? 'x' : plain;
}

/** Names that are one as labels must not make one thing of two: the second gets a number. */
export class Labels {
  /** By what it is called elsewhere. */
  readonly #given = new Map<string, string>();

  of(called: string): string {
    const known = this.#given.get(called);
    if (known !== undefined) return known;
    const taken = new Set(this.#given.values());
    const wished = label(called);
    let name = wished;
    for (let number = 2; taken.has(name); number += 1) {
      name = `${wished.slice(0, 34).replace(/-+$/, '')}-${number}`;
    }
    this.#given.set(called, name);
    return name;
  }
}
