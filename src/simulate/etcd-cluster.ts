import { EtcdKeys, type KeyCommit } from './etcd-keys.js';
import type { Random } from './random.js';
import { msNs, type VirtualTime } from './time.js';

/** A member that heard from no leader stands for election after this long. */
const electionMs = { least: 150, most: 900 };
const commitMs = { least: 0.3, most: 2.5 };
/** A slow disk, a full queue: an entry that is committed much later than it was asked for. */
const lateMs = { least: 50, most: 3_000 };
const rarelyLate = 0.004;
const troubledLate = 0.25;

export interface EtcdMemberState {
  readonly name: string;
  up: boolean;
  frozen: boolean;
  /** Cut off from the other members, not from its clients. */
  isolated: boolean;
}

interface Proposal {
  readonly action: () => void;
  readonly failed: () => void;
}

/**
 * An etcd cluster of three members: one log, which goes on while a majority has a leader. What was
 * asked of a leader that fell may be lost or may be carried out later, and the asker never knows.
 */
export class EtcdCluster {
  readonly keys = new EtcdKeys();
  readonly members: readonly EtcdMemberState[];
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #committed: (commit: KeyCommit) => void;
  readonly #leases = new Map<string, { readonly ttlMs: number; cancel: () => void }>();
  readonly #watchers = new Set<() => void>();
  readonly #queued: Proposal[] = [];
  #leader: EtcdMemberState | undefined;
  #electing = false;
  /** Requests take much longer than usual. */
  slow = false;

  constructor(time: VirtualTime, random: Random, committed: (commit: KeyCommit) => void) {
    this.#time = time;
    this.#random = random;
    this.#committed = committed;
    this.members = ['e1', 'e2', 'e3'].map((name) => ({
      name,
      up: true,
      frozen: false,
      isolated: false,
    }));
    this.#leader = this.members[0];
  }

  get leader(): EtcdMemberState | undefined {
    return this.#leader;
  }

  /** Whether this member takes part in the majority. */
  connected(member: EtcdMemberState): boolean {
    return member.up && !member.frozen && !member.isolated;
  }

  /** Something happened to the members: whether the leader stays, and if not, who is next. */
  look(): void {
    if (this.#leader !== undefined && !this.connected(this.#leader)) this.depose();
    else if (this.#leader === undefined) this.#elect();
    for (const watcher of this.#watchers) watcher();
  }

  depose(): void {
    this.#leader = undefined;
    this.#elect();
  }

  /**
   * Carries out `action` as an entry of the log. It may happen long after the asker gave up, or, when
   * the leader falls meanwhile, never: then `failed` is called if anybody finds out.
   *
   * @param troubled it is something with the asker
   */
  propose(proposal: Proposal, troubled = false): void {
    const random = this.#random;
    const late = random.chance(this.slow || troubled ? troubledLate : rarelyLate);
    const { least, most } = late ? lateMs : commitMs;
    this.#time.after(random.between(least, most) * msNs, () => this.#commit(proposal));
  }

  grant(lease: string, ttlMs: number): boolean {
    if (this.#leases.has(lease)) return false;
    this.#leases.set(lease, { ttlMs, cancel: () => {} });
    this.#refresh(lease);
    return true;
  }

  /** TTL in ms; 0 for a lease that is gone. */
  renew(lease: string): number {
    this.#refresh(lease);
    return this.#leases.get(lease)?.ttlMs ?? 0;
  }

  revoke(lease: string): boolean {
    const known = this.#leases.get(lease);
    if (known === undefined) return false;
    known.cancel();
    this.#leases.delete(lease);
    this.write(this.keys.remove(this.keys.keysOfLease(lease)));
    return true;
  }

  /** Tells watches and whoever observes the store of what was written. */
  write(commit: KeyCommit | undefined): void {
    if (commit === undefined) return;
    this.#committed(commit);
    for (const watcher of this.#watchers) watcher();
  }

  compact(): void {
    this.keys.compact(this.keys.revision - 1);
  }

  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  #commit(proposal: Proposal): void {
    // Without a leader: it may or may not have reached the others before that one fell.
    if (this.#leader !== undefined) proposal.action();
    else if (this.#random.chance(0.5)) this.#queued.push(proposal);
    else proposal.failed();
  }

  #elect(): void {
    if (this.#electing) return;
    this.#electing = true;
    const delayMs = this.#random.between(electionMs.least, electionMs.most);
    this.#time.after(delayMs * msNs, () => {
      this.#electing = false;
      const able = this.members.filter((member) => this.connected(member));
      if (able.length <= this.members.length / 2) return;
      this.#leader = this.#random.pick(able);
      // A new leader gives every lease its whole time again.
      for (const lease of this.#leases.keys()) this.#refresh(lease);
      for (const { action } of this.#queued.splice(0)) action();
    });
  }

  /** Only a leader ends leases; without one they wait. */
  #refresh(lease: string): void {
    const known = this.#leases.get(lease);
    if (known === undefined) return;
    known.cancel();
    known.cancel = this.#time.after(known.ttlMs * msNs, () => {
      if (this.#leader !== undefined) this.revoke(lease);
    });
  }
}
