/** A name as cluster files have it: RFC 1123, at most 40 long. */
export function label(text: string): string {
  const plain = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
    .replace(/^-+|-+$/g, '');
  return plain === '' ? 'x' : plain;
}
