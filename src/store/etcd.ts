import { setMaxListeners } from 'node:events';
import { UnderstudyError } from '../errors.js';
import { bootMs } from '../ffi/clock.js';
import { Campaign, officeKey } from './campaign.js';
import { Codec } from './etcd/codec.js';
import { EtcdMember, type Member } from './etcd/member.js';
import { Members, type MembersCallOptions } from './etcd/members.js';
import { etcdOffice } from './etcd/office.js';
import { methods, rangeEnd } from './etcd/protocol.js';
import { follow } from './etcd/watch.js';
import { type StoreLog, silent } from './log.js';
import { watchSeat } from './office-watch.js';
import { patienceFor } from './patience.js';
import { checkTransaction } from './refusals.js';
import type { TlsFiles } from './settings.js';
import { systemTimers, type Timers } from './timers.js';
import type {
  CallOptions,
  CampaignListener,
  Entry,
  Snapshot,
  Store,
  Transaction,
  TransactionResult,
  WatchListener,
} from './types.js';

export interface EtcdStoreOptions {
  /** `http://ADDRESS:PORT` or `https://…` of every member. Names are looked up, addresses need no resolver. */
  readonly endpoints: readonly string[];
  /** Every key begins with it: `/understudy/<cluster>/`. */
  readonly prefix: string;
  /** For https endpoints. */
  readonly tls?: TlsFiles | undefined;
  /** Whose store this is, for messages. */
  readonly identity?: string;
  readonly log?: StoreLog;
  /** Default: on the boot clock, which goes on while the machine is suspended. */
  readonly timers?: Timers;
  /** Default: by gRPC. */
  readonly connect?: (endpoint: string) => Member;
  /** Names of leases; default: 63 random bits each. */
  readonly newLease?: () => bigint;
}

/** Keys of a list come in pages, so that each stays within a try's deadline. */
const pageEntries = 500;

/**
 * The store on etcd 3.4 or later.
 *
 * Reads are linearizable. A write that timed out may have been carried out: its repetition on the
 * next member then finds its comparisons failed, and `current` shows the caller its own write.
 */
export class EtcdStore implements Store {
  readonly #options: EtcdStoreOptions;
  readonly #codec: Codec;
  readonly #timers: Timers;
  readonly #members: Members;
  readonly #running = new AbortController();
  readonly #work = new Set<Promise<void>>();

  /** @throws {UnderstudyError} US_STORE_ENDPOINT, US_STORE_TLS */
  constructor(options: EtcdStoreOptions) {
    if (options.endpoints.length === 0) throw noEndpoints(options.identity ?? options.prefix);
    this.#options = options;
    this.#codec = new Codec(options.prefix);
    this.#timers = options.timers ?? systemTimers(bootMs);
    const connect = options.connect ?? ((endpoint) => new EtcdMember(endpoint, options.tls));
    this.#members = new Members(options.endpoints, this.#timers, connect);
    // One listener for each call under way: many are no leak here.
    setMaxListeners(0, this.#running.signal);
  }

  /** Proves that a majority answers. */
  async start(signal: AbortSignal): Promise<void> {
    await this.get('config', { signal });
  }

  /** Gives offices back (a short while for each, patience.ts), ends watches, closes connections. */
  async stop(): Promise<void> {
    this.#running.abort(new Error('the store was stopped'));
    await Promise.all(this.#work);
    this.#members.close();
  }

  suit(leaseMs: number): void {
    this.#members.suit(patienceFor(leaseMs));
  }

  async get(key: string, options: CallOptions = {}): Promise<Entry | undefined> {
    const request = { key: this.#codec.key(key) };
    const answer = await this.#members.call(
      { action: 'cannot read', object: key },
      this.#until(options),
      (member, deadlineMs) => member.call(methods.range, request, deadlineMs),
    );
    const found = answer.kvs[0];
    return found === undefined ? undefined : this.#codec.entry(found);
  }

  async list(prefix: string, options: CallOptions = {}): Promise<Snapshot> {
    const { clusterId: _, ...snapshot } = await this.#list(prefix, options);
    return snapshot;
  }

  async transact(transaction: Transaction, options: CallOptions = {}): Promise<TransactionResult> {
    checkTransaction(transaction);
    const request = this.#codec.transaction(transaction);
    const object = transaction.write[0]?.key ?? transaction.compare[0]?.key ?? '(nothing)';
    const answer = await this.#members.call(
      { action: 'cannot write', object },
      this.#until(options),
      (member, deadlineMs) => member.call(methods.txn, request, deadlineMs),
    );
    const current = answer.succeeded
      ? []
      : answer.responses.flatMap(({ response_range: range }) => range?.kvs ?? []);
    return {
      done: answer.succeeded,
      revision: Number(answer.header.revision),
      current: current.map((found) => this.#codec.entry(found)),
    };
  }

  watch(prefix: string, listener: WatchListener, signal: AbortSignal): void {
    const key = this.#codec.key(prefix);
    const ended = AbortSignal.any([signal, this.#running.signal]);
    this.#track(
      follow(
        {
          members: this.#members,
          timers: this.#timers,
          log: this.#log,
          prefix,
          key,
          rangeEnd: rangeEnd(key),
          listener,
          list: (until) => this.#list(prefix, { signal: until }),
          toChange: (event) => this.#codec.change(event),
        },
        ended,
      ),
    );
  }

  campaign(
    office: string,
    candidate: string,
    listener: CampaignListener,
    signal: AbortSignal,
  ): void {
    const port = etcdOffice(this.#members, this.#codec, this.#timers, (key, tell, until) =>
      watchSeat(this, key, tell, until),
    );
    const { newLease } = this.#options;
    const parts = {
      port,
      timers: this.#timers,
      patience: () => this.#members.patience.office,
      log: this.#log,
      office,
      candidate,
      listener,
      ...(newLease === undefined ? {} : { newLease }),
    };
    const ended = AbortSignal.any([signal, this.#running.signal]);
    this.#track(new Campaign(parts).run(ended));
  }

  async holder(office: string, options?: CallOptions): Promise<string | undefined> {
    return (await this.get(officeKey(office), options))?.value;
  }

  async #list(
    prefix: string,
    options: CallOptions,
  ): Promise<Snapshot & { readonly clusterId: string }> {
    const end = rangeEnd(this.#codec.key(prefix));
    let from = this.#codec.key(prefix);
    let revision: string | undefined;
    const entries: Entry[] = [];
    for (;;) {
      const request = {
        key: from,
        range_end: end,
        limit: String(pageEntries),
        ...(revision === undefined ? {} : { revision }),
      };
      const { kvs, more, header } = await this.#members.call(
        { action: 'cannot list', object: prefix },
        this.#until(options),
        (member, deadlineMs) => member.call(methods.range, request, deadlineMs),
      );
      entries.push(...kvs.map((found) => this.#codec.entry(found)));
      // Later pages are read as of the first one's revision.
      revision ??= header.revision;
      const last = kvs.at(-1);
      if (!more || last === undefined) {
        return { entries, revision: Number(revision), clusterId: header.cluster_id };
      }
      from = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }

  get #log(): StoreLog {
    return this.#options.log ?? silent;
  }

  #until({ budgetMs, signal }: CallOptions): MembersCallOptions {
    const stopped = this.#running.signal;
    return { budgetMs, signals: signal === undefined ? [stopped] : [signal, stopped] };
  }

  #track(work: Promise<void>): void {
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }
}

function noEndpoints(identity: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORE_ENDPOINT',
    action: 'cannot open',
    object: `the store for ${identity}`,
    cause: 'no endpoint is given',
    remedy: "name etcd's client addresses under store.endpoints",
  });
}
