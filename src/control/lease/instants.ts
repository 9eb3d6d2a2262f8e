/** Of two instants (or lengths) in ns, the later; `Math.max` does not take bigint. */
export function later(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}

export function earlier(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}
