/** Enough for whatever goes wrong with controllers; a host that flaps more often stays voted. */
export const mostWithdrawals = 10;
/** Of which so few may have been of votes that followed others': the rest is for a host that is back. */
export const mostFollowed = 3;
export const withdrawalWindowMs = 60_000;

/** Those of the last minute. */
export function recent(withdrawnAtMs: readonly number[], nowMs: number): readonly number[] {
  return withdrawnAtMs.filter((atMs) => nowMs - atMs < withdrawalWindowMs);
}

/** When a vote may be taken back again, after `most` in a minute; undefined: now. */
export function mayAgainMs(
  withdrawnAtMs: readonly number[],
  most: number,
  nowMs: number,
): number | undefined {
  const kept = recent(withdrawnAtMs, nowMs);
  const [oldest] = kept;
  return oldest !== undefined && kept.length >= most ? oldest + withdrawalWindowMs : undefined;
}
