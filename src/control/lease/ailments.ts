/**
 * What a host says of itself in a heartbeat. It proves nothing, and no promise is shortened for it: a
 * controller that acts on it stops acknowledging and waits out its promise, as before any vote.
 */
export interface Ailments {
  /** It holds no lease, and has not for `darkLeases` leases. */
  readonly dark: boolean;
  /** It has had no agent for longer than a restart takes: what is given to it waits. */
  readonly agentAway: boolean;
}

/**
 * So long a host is without a lease before it says so: a controller that votes by mistake, or that a
 * link cut off for a moment, hears the host for one lease and takes its vote back meanwhile.
 */
export const darkLeases = 5n;

/** @param sinceNs when the last lease ended, or the first was asked for */
export const isDark = (sinceNs: bigint, leaseNs: bigint, nowNs: bigint): boolean =>
  nowNs - sinceNs >= darkLeases * leaseNs;

export const noAilments: Ailments = { dark: false, agentAway: false };

export const sameAilments = (a: Ailments, b: Ailments): boolean =>
  a.dark === b.dark && a.agentAway === b.agentAway;
