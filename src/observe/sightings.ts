/**
 * Who spoke with which virtual MAC, from which port of the switch, and when: what a judge saw, and
 * its verdict. Pure; knows nothing of leases, votes or epochs.
 */

/** Frames with one vMAC from one port, with none from another port in between. */
export interface Tenure {
  readonly port: string;
  readonly firstNs: bigint;
  readonly lastNs: bigint;
  readonly frames: number;
}

/** A frame from a port that had lost the vMAC to another one. */
export interface Rival {
  readonly mac: string;
  /** Who speaks although another one took over. */
  readonly port: string;
  readonly atNs: bigint;
  readonly frames: number;
  /** Who had the vMAC, and since when. */
  readonly owner: string;
  readonly ownerSinceNs: bigint;
}

/** More changes of port than any story has; beyond it only the rivalry matters. */
const mostTenures = 1_000;

export class Sightings {
  readonly #tenures = new Map<string, Tenure[]>();
  #frames = 0;

  /** Frames are to be told in the order in which they passed. */
  add(mac: string, port: string, atNs: bigint): void {
    this.#frames++;
    const tenures = this.#tenures.get(mac) ?? [];
    this.#tenures.set(mac, tenures);
    const last = tenures.at(-1);
    if (last?.port === port) {
      tenures[tenures.length - 1] = { ...last, lastNs: atNs, frames: last.frames + 1 };
    } else if (tenures.length < mostTenures) {
      tenures.push({ port, firstNs: atNs, lastNs: atNs, frames: 1 });
    }
  }

  get frames(): number {
    return this.#frames;
  }

  get macs(): readonly string[] {
    return [...this.#tenures.keys()];
  }

  tenures(mac: string): readonly Tenure[] {
    return this.#tenures.get(mac) ?? [];
  }

  /** The last frame with this vMAC from this port. */
  lastFrom(mac: string, port: string): bigint | undefined {
    return this.tenures(mac).findLast((tenure) => tenure.port === port)?.lastNs;
  }
}

/**
 * Every frame from an old port after the first frame from a new one.
 *
 * `owners` are the ports that were given the vMAC, in order: one that is not among those still to come
 * has no right to it. Without them no port may come back that has lost it.
 */
export function rivals(
  mac: string,
  tenures: readonly Tenure[],
  owners?: readonly string[],
): readonly Rival[] {
  const found: Rival[] = [];
  const left = new Set<string>();
  let turn = 0;
  let owner: Tenure | undefined;
  for (const tenure of tenures) {
    const { port, firstNs: atNs, frames } = tenure;
    if (port === owner?.port) continue;
    const next = owners?.indexOf(port, turn) ?? turn;
    if (next < 0 || (owners === undefined && left.has(port))) {
      const since = { owner: owner?.port ?? 'nobody', ownerSinceNs: owner?.firstNs ?? atNs };
      found.push({ mac, port, atNs, frames, ...since });
      continue;
    }
    if (owner !== undefined) left.add(owner.port);
    turn = next + 1;
    owner = tenure;
  }
  return found;
}

/** A rival in a sentence, times in ms since `zeroNs`. */
export function describeRival(rival: Rival, zeroNs: bigint): string {
  const { mac, port, frames, owner } = rival;
  const ms = (ns: bigint) => (Number(ns - zeroNs) / 1e6).toFixed(1);
  return `${mac} is live from two ports: ${frames} frames from ${port} at ${ms(rival.atNs)} ms, but ${owner} has it since ${ms(rival.ownerSinceNs)} ms`;
}
