import { messageOf } from '../../errors.js';
import type { StorePatience } from '../patience.js';
import type { Timers } from '../timers.js';
import type { Change } from '../types.js';
import type { Member, MemberStream } from './member.js';
import { methods, type WatchRequest, type WatchResponse } from './protocol.js';

export interface WatchSessionSpec {
  readonly member: Member;
  readonly timers: Timers;
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  /** All up to this revision is known; what comes after it is told. */
  readonly afterRevision: number;
  readonly clusterId: string;
  /** Asked each time: a session that began before the cluster's definition was known goes on. */
  patience(): StorePatience;
  toChange(event: WatchResponse['events'][number]): Change;
  changes(changes: readonly Change[], revision: number): void;
}

export type SessionEnd =
  | { readonly kind: 'member'; readonly reason: string }
  /** The revisions that follow ours are not to be had any more. */
  | { readonly kind: 'gap'; readonly reason: string };

/**
 * One watch stream on one member, for as long as the member proves that it is alive *and* in touch
 * with a majority: a frozen member is silent, one cut off from the others is not, and both would
 * leave a watch quiet for ever. So, every 500 ms at the least, the stream is asked for its progress and the member
 * for a linearizable read.
 */
export class WatchSession {
  readonly #spec: WatchSessionSpec;
  readonly #stream: MemberStream<WatchRequest, WatchResponse>;
  readonly #ended: (end: SessionEnd) => void;
  #revision: number;
  #open = true;
  #heardMs: number;
  #quorumMs: number;
  #probing = false;
  #cancelLook: () => void = () => {};
  #cancelProbe: () => void = () => {};

  /** `ended` is called once, unless `close` comes first. */
  constructor(spec: WatchSessionSpec, ended: (end: SessionEnd) => void) {
    this.#spec = spec;
    this.#ended = ended;
    this.#revision = spec.afterRevision;
    this.#heardMs = spec.timers.nowMs();
    this.#quorumMs = this.#heardMs;
    this.#stream = spec.member.open(methods.watch);
    this.#stream.on('error', (error) => this.#end({ kind: 'member', reason: messageOf(error) }));
    this.#stream.on('end', () => this.#end({ kind: 'member', reason: 'the stream ended' }));
    this.#stream.on('data', (response: WatchResponse) => this.#receive(response));
    this.#stream.write({
      create_request: {
        key: spec.key,
        range_end: spec.rangeEnd,
        start_revision: String(spec.afterRevision + 1),
      },
    });
    this.#look();
    this.#probe();
  }

  /** Everything up to this revision has been told. */
  get revision(): number {
    return this.#revision;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#cancelLook();
    this.#cancelProbe();
    this.#stream.cancel();
  }

  #end(end: SessionEnd): void {
    if (!this.#open) return;
    this.close();
    this.#ended(end);
  }

  #receive(response: WatchResponse): void {
    if (!this.#open) return;
    this.#heardMs = this.#spec.timers.nowMs();
    if (response.canceled) {
      const compacted = Number(response.compact_revision) > 0;
      const reason = response.cancel_reason || 'cancelled by etcd';
      this.#end({ kind: compacted ? 'gap' : 'member', reason });
      return;
    }
    const fresh = response.events.filter(({ kv }) => Number(kv.mod_revision) > this.#revision);
    const last = fresh.at(-1);
    if (last === undefined) return;
    // Not the header's revision: a watch that is catching up gets headers ahead of its events, and
    // before 3.4.25 so does the answer to a progress request (etcd issue 15220).
    this.#revision = Number(last.kv.mod_revision);
    this.#spec.changes(fresh.map(this.#spec.toChange), this.#revision);
  }

  #look(): void {
    const { timers } = this.#spec;
    const { silenceMs, lookEveryMs } = this.#spec.patience();
    const nowMs = timers.nowMs();
    if (nowMs - this.#heardMs > silenceMs) {
      this.#end({ kind: 'member', reason: `silent for ${silenceMs} ms` });
    } else if (nowMs - this.#quorumMs > silenceMs) {
      this.#end({ kind: 'member', reason: `no linearizable read for ${silenceMs} ms` });
    } else {
      this.#cancelLook = timers.after(lookEveryMs, () => this.#look());
    }
  }

  #probe(): void {
    this.#stream.write({ progress_request: {} });
    if (!this.#probing) void this.#readThroughQuorum();
    const { timers, patience } = this.#spec;
    this.#cancelProbe = timers.after(patience().probeEveryMs, () => this.#probe());
  }

  async #readThroughQuorum(): Promise<void> {
    const { member, key, timers, clusterId, patience } = this.#spec;
    this.#probing = true;
    const sentMs = timers.nowMs();
    const known = this.#revision;
    try {
      const request = { key, count_only: true };
      const { header } = await member.call(methods.range, request, patience().silenceMs);
      this.#quorumMs = Math.max(this.#quorumMs, sentMs);
      // A majority knows what we were told before asking, unless the store was replaced or restored.
      if (header.cluster_id !== clusterId || Number(header.revision) < known) {
        this.#end({ kind: 'gap', reason: 'etcd was replaced or restored from a backup' });
      }
    } catch {
      // Nothing heard: #look judges by the time since the last success.
    } finally {
      this.#probing = false;
    }
  }
}
