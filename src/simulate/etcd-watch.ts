import type { MemberStream } from '../store/etcd/member.js';
import type { WatchRequest, WatchResponse } from '../store/etcd/protocol.js';
import type { ConnectionParts } from './etcd-connection.js';
import { msNs } from './time.js';

type Created = Extract<WatchRequest, { create_request: object }>['create_request'];

const usualLagMs = 3;
const rareLagMs = 400;
const rareLag = 0.01;
const troubledLagMs = 1_200;
const retransmitNs = 200 * msNs;

/**
 * One watch on one member. The member tells what it knows: cut off from the others, or frozen, it
 * knows nothing new, and says so to nobody.
 */
export class EtcdWatch implements MemberStream<WatchRequest, WatchResponse> {
  readonly #parts: ConnectionParts;
  #onData: (response: WatchResponse) => void = () => {};
  #onError: (error: Error) => void = () => {};
  #open = true;
  #unwatch: () => void = () => {};
  #range: { readonly key: string; readonly end: string } | undefined;
  #toldRevision = 0;
  readonly #requests: WatchRequest[] = [];
  readonly #queue: WatchResponse[] = [];
  #looking = false;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
  }

  on(event: 'data' | 'error' | 'end', listener: ((value: never) => void) | (() => void)): this {
    if (event === 'data') this.#onData = listener as (response: WatchResponse) => void;
    if (event === 'error') this.#onError = listener as (error: Error) => void;
    return this;
  }

  write(request: WatchRequest): void {
    const { time, random } = this.#parts;
    this.#requests.push(request);
    time.after(random.between(0.05, 0.5) * msNs, () => this.#take());
  }

  /** Like answers: in order, and repeated until they get through. */
  #take(): void {
    const { time, member } = this.#parts;
    if (!this.#open) return;
    if (!member.up) {
      this.#fail();
      return;
    }
    if (member.frozen || !this.#parts.reaches()) {
      time.after(retransmitNs, () => this.#take());
      return;
    }
    const request = this.#requests.shift();
    if (request === undefined) return;
    if ('create_request' in request) this.#create(request.create_request);
    else this.#send(this.#response({}));
  }

  cancel(): void {
    this.#open = false;
    this.#unwatch();
  }

  #create({ key, range_end: end, start_revision: start }: Created): void {
    const { cluster } = this.#parts;
    this.#range = { key: key.toString(), end: end.toString() };
    this.#toldRevision = Number(start) - 1;
    this.#send(this.#response({ created: true }));
    this.#unwatch = cluster.onChange(() => this.#look());
    this.#look();
  }

  /** The member hears of changes a little later than the leader commits them. */
  #look(): void {
    const { time, random, member } = this.#parts;
    if (!member.up) this.#fail();
    if (this.#looking || !this.#open) return;
    this.#looking = true;
    const rare = random.chance(rareLag);
    const mostMs = this.#parts.hearsLate() ? troubledLagMs : rare ? rareLagMs : usualLagMs;
    const lagMs = random.next() * mostMs;
    time.after(lagMs * msNs, () => {
      this.#looking = false;
      this.#tell();
    });
  }

  #tell(): void {
    const { cluster, member } = this.#parts;
    // It is told at the next change of the members, `look` in EtcdCluster.
    if (!this.#open || !cluster.connected(member) || this.#range === undefined) return;
    const { key, end } = this.#range;
    if (this.#toldRevision < cluster.keys.compacted) {
      const compacted = String(cluster.keys.compacted);
      this.#send(this.#response({ canceled: true, compact_revision: compacted }));
      this.#unwatch();
      return;
    }
    const events = cluster.keys.since(this.#toldRevision, key, end);
    this.#toldRevision = Math.max(this.#toldRevision, cluster.keys.revision);
    if (events.length > 0) this.#send(this.#response({ events }));
  }

  #response(part: Partial<WatchResponse>): WatchResponse {
    const header = this.#parts.cluster.keys.header();
    const nothing = { created: false, canceled: false, compact_revision: '0', cancel_reason: '' };
    return { header, ...nothing, events: [], ...part };
  }

  /** In order, over a connection that repeats until it gets through or is given up. */
  #send(response: WatchResponse): void {
    const { time, random } = this.#parts;
    this.#queue.push(response);
    time.after(random.between(0.05, 0.5) * msNs, () => this.#handOver());
  }

  /** Each call hands over the oldest, so that nothing overtakes. */
  #handOver(): void {
    if (!this.#open || this.#queue.length === 0) return;
    const { time, process } = this.#parts;
    if (!this.#parts.reaches()) {
      time.after(retransmitNs, () => this.#handOver());
      return;
    }
    const response = this.#queue.shift();
    process.deliver(() => {
      if (this.#open && response !== undefined) this.#onData(response);
    });
  }

  #fail(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#unwatch();
    this.#parts.process.deliverAfter(0.5 * msNs, () => this.#onError(new Error('connection lost')));
  }
}
