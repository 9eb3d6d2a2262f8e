/** A restart of the agent takes one or two seconds, also after it was killed; an upgrade no more. */
export const agentAwayNs = 5_000_000_000n;
/**
 * An agent that has been here for so long is at work. One that dies sooner, again and again, counts as
 * away all the time: else the host would come and go with it.
 */
export const agentSettledNs = 5_000_000_000n;

/**
 * Whether this host has an agent, as pulse sees it from its end of the socket: connected, and heard once
 * a second. An agent of a version that does not speak of itself is never missed.
 */
export class AgentPresence {
  /** Start of what has been one stay without a break; null while there is no agent. */
  #hereSinceNs: bigint | null = null;
  #heardNs = 0n;
  /** Until then the host had a settled agent; null: none has ever spoken of itself. */
  #settledUntilNs: bigint | null = null;
  /** This connection's agent speaks of itself. */
  #speaks = false;
  #away = false;

  /** Away for longer than a restart takes, and not yet back for long enough. */
  get away(): boolean {
    return this.#away;
  }

  connected(nowNs: bigint): void {
    this.look(nowNs);
    this.#hereSinceNs = nowNs;
    this.#heardNs = nowNs;
    this.#speaks = false;
  }

  gone(nowNs: bigint): void {
    this.look(nowNs);
    this.#hereSinceNs = null;
  }

  spoke(nowNs: bigint): void {
    if (this.#hereSinceNs === null) this.connected(nowNs);
    this.look(nowNs);
    // It hung, and goes on: that is a new stay.
    if (this.#away && nowNs - this.#heardNs >= agentAwayNs) this.#hereSinceNs = nowNs;
    this.#heardNs = nowNs;
    this.#speaks = true;
    this.#settledUntilNs ??= nowNs;
  }

  /** Pulse itself stood still for so long: what an agent said meanwhile waits in the socket. */
  stoodStill(lengthNs: bigint): void {
    this.#heardNs += lengthNs;
    if (this.#settledUntilNs !== null) this.#settledUntilNs += lengthNs;
  }

  /** An agent that has been here for long without a word is of a version that says none. */
  isMute(nowNs: bigint): boolean {
    const sinceNs = this.#hereSinceNs;
    return sinceNs !== null && !this.#speaks && nowNs - sinceNs >= agentSettledNs;
  }

  look(nowNs: bigint): void {
    if (this.#settledUntilNs === null) return;
    const here = this.#isHere(nowNs);
    if (here && nowNs - (this.#hereSinceNs ?? nowNs) >= agentSettledNs) {
      this.#settledUntilNs = this.#speaks ? this.#heardNs : nowNs;
      this.#away = false;
    } else if (!here && nowNs - this.#settledUntilNs >= agentAwayNs) this.#away = true;
  }

  #isHere(nowNs: bigint): boolean {
    if (this.#hereSinceNs === null) return false;
    return !this.#speaks || nowNs - this.#heardNs < agentAwayNs;
  }
}
