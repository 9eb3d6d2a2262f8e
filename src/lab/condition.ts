/** What a scenario waits for: places in `status --json`, and what must be found there. */

export type Scalar = string | number | boolean | null;

export interface Condition {
  /** `personalities.web1.phase`: an element of a list is named by its `name`, or by its index. */
  readonly path: string;
  readonly expected: Expected;
}

export type Expected =
  | { readonly kind: 'is'; readonly value: Scalar }
  | { readonly kind: 'not'; readonly value: Scalar }
  | { readonly kind: 'at-least'; readonly value: number }
  /** A regular expression. */
  | { readonly kind: 'matches'; readonly value: RegExp };

/** What stands at a path; undefined for nothing. */
export function lookUp(document: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>(step, document);
}

function step(value: unknown, part: string): unknown {
  if (Array.isArray(value)) {
    const elements: readonly unknown[] = value;
    const named = elements.find((one) => isRecord(one) && one.name === part);
    return named ?? (/^\d+$/.test(part) ? elements[Number(part)] : undefined);
  }
  return isRecord(value) ? value[part] : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Undefined when it holds, else what is there instead. */
export function unmet(document: unknown, { path, expected }: Condition): string | undefined {
  const found = lookUp(document, path);
  if (holds(found, expected)) return undefined;
  return `${path} is ${shown(found)}, wanted ${wanted(expected)}`;
}

function holds(found: unknown, { kind, value }: Expected): boolean {
  switch (kind) {
    case 'is':
      return found === value;
    case 'not':
      return found !== undefined && found !== value;
    case 'at-least':
      return typeof found === 'number' && found >= value;
    case 'matches':
      return typeof found === 'string' && value.test(found);
  }
}

function wanted({ kind, value }: Expected): string {
  switch (kind) {
    case 'is':
      return shown(value);
    case 'not':
      return `anything but ${shown(value)}`;
    case 'at-least':
      return `at least ${shown(value)}`;
    case 'matches':
      return `something like ${value}`;
  }
}

function shown(value: unknown): string {
  return value === undefined ? 'not there' : JSON.stringify(value);
}
