import { nearest } from './nearest.js';

/** Keys and indexes from the top of the file down. */
export type Path = readonly (string | number)[];

/** Something wrong at a path of the file, before its line is known. */
export interface Fault {
  readonly path: Path;
  readonly what: string;
  /** What to write instead. */
  readonly write: string;
}

/** Tells the second and later of equal values. */
export function doubles<T>(
  items: readonly { readonly value: T; readonly path: Path }[],
  what: (value: T) => string,
  write: string,
): readonly Fault[] {
  const seen = new Set<T>();
  return items.flatMap(({ value, path }) => {
    if (!seen.has(value)) {
      seen.add(value);
      return [];
    }
    return [{ path, what: what(value), write }];
  });
}

const mostListed = 10;

/** A name that refers to nothing, with the nearest that would. */
export function unknown(path: Path, kind: string, name: string, known: readonly string[]): Fault {
  return { path, what: `there is no ${kind} ${name}`, write: oneOf(name, known) };
}

/** The name that was probably meant, else those that there are. */
export function oneOf(name: string, known: readonly string[]): string {
  const close = nearest(name, known);
  if (close !== undefined) return `write ${close}`;
  if (known.length === 0) return 'define one first: there is none';
  const more = known.length > mostListed ? ', …' : '';
  return `write one of: ${known.slice(0, mostListed).join(', ')}${more}`;
}
