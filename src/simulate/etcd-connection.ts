import { status } from '@grpc/grpc-js';
import type { Member, MemberStream } from '../store/etcd/member.js';
import {
  type LeaseResponse,
  methods,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type WatchRequest,
  type WatchResponse,
} from '../store/etcd/protocol.js';
import type { EtcdCluster, EtcdMemberState } from './etcd-cluster.js';
import { EtcdWatch } from './etcd-watch.js';
import type { SimProcess } from './process.js';
import type { Random } from './random.js';
import { msNs, type VirtualTime } from './time.js';

export interface ConnectionParts {
  readonly cluster: EtcdCluster;
  readonly member: EtcdMemberState;
  readonly process: SimProcess;
  readonly time: VirtualTime;
  readonly random: Random;
  /** Whether packets between this process's host and the member get through. */
  reaches(): boolean;
  /** Whether what it asks for is often carried out late. */
  late(): boolean;
  /** Whether it hears late of what others wrote. */
  hearsLate(): boolean;
}

/** An answer of the server, or its refusal. */
type Respond = (answer: object | Error) => void;

/** One process's connection to one etcd member: what gRPC is in production. */
export class EtcdConnection implements Member {
  readonly endpoint: string;
  readonly #parts: ConnectionParts;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.endpoint = `http://${parts.member.name}:2379`;
  }

  reconnect(): void {}
  close(): void {}

  call<Request extends object, Response extends object>(
    method: { readonly path: string },
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const { process } = this.#parts;
      let open = true;
      const settle = (finish: () => void) => {
        if (!open) return;
        open = false;
        cancel();
        finish();
      };
      const cancel = process.timers.after(deadlineMs, () =>
        settle(() => reject(grpcError(status.DEADLINE_EXCEEDED, 'deadline exceeded'))),
      );
      this.#ask(method.path, request, (answer) =>
        process.deliver(() =>
          settle(() => (answer instanceof Error ? reject(answer) : resolve(answer as Response))),
        ),
      );
    });
  }

  exchange<Request extends object, Response extends object>(
    method: { readonly path: string },
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    return this.call(method, request, deadlineMs);
  }

  /** Only watches are streams that last. */
  open<Request extends object, Response extends object>(): MemberStream<Request, Response> {
    const watch: MemberStream<WatchRequest, WatchResponse> = new EtcdWatch(this.#parts);
    return watch as unknown as MemberStream<Request, Response>;
  }

  #ask(path: string, request: object, respond: Respond): void {
    const { time, member } = this.#parts;
    const away = this.#latencyNs();
    if (!this.#parts.reaches()) return;
    time.after(away, () => {
      if (member.frozen) return;
      if (!member.up) return respond(grpcError(status.UNAVAILABLE, 'connection refused'));
      this.#serve(path, request, (answer) => {
        // The answer is lost with its member, or on the way.
        if (!member.up || member.frozen || !this.#parts.reaches()) return;
        time.after(this.#latencyNs(), () => respond(answer));
      });
    });
  }

  /** At the member: everything but its own memory goes through the log. */
  #serve(path: string, request: object, respond: Respond): void {
    const { cluster, member } = this.#parts;
    // Cut off from the others it waits for a leader; its client gives up long before it does.
    if (!cluster.connected(member)) return;
    const failed = () => respond(grpcError(status.UNAVAILABLE, 'etcdserver: leader changed'));
    const action = () => respond(this.#carryOut(path, request));
    cluster.propose({ action, failed }, this.#parts.late());
  }

  #carryOut(path: string, request: object): object | Error {
    const { cluster } = this.#parts;
    const header = () => cluster.keys.header();
    switch (path) {
      case methods.range.path:
        return this.#range(request as RangeRequest);
      case methods.txn.path: {
        const { response, commit } = cluster.keys.transact(request as TxnRequest);
        cluster.write(commit);
        return response;
      }
      case methods.leaseGrant.path: {
        const { ID, TTL } = request as { ID: string; TTL: string };
        if (cluster.grant(ID, Number(TTL) * 1000)) return { header: header(), ID, TTL };
        return grpcError(status.FAILED_PRECONDITION, 'etcdserver: lease already exists');
      }
      case methods.leaseRevoke.path: {
        const { ID } = request as { ID: string };
        if (cluster.revoke(ID)) return { header: header() };
        return grpcError(status.NOT_FOUND, 'etcdserver: requested lease not found');
      }
      case methods.leaseKeepAlive.path: {
        const { ID } = request as { ID: string };
        const answer: LeaseResponse = {
          header: header(),
          ID,
          TTL: String(cluster.renew(ID) / 1000),
        };
        return answer;
      }
      default:
        return grpcError(status.UNIMPLEMENTED, path);
    }
  }

  #range({ key, range_end: end, limit, count_only: countOnly }: RangeRequest): RangeResponse {
    const { keys } = this.#parts.cluster;
    const header = keys.header();
    if (countOnly) return { header, kvs: [], more: false };
    const all = keys.range(key.toString(), end?.toString());
    const most = Number(limit ?? 0) || all.length;
    return { header, kvs: all.slice(0, most), more: all.length > most };
  }

  #latencyNs(): number {
    return this.#parts.random.between(0.05, 0.5) * msNs;
  }
}

function grpcError(code: number, message: string): Error {
  return Object.assign(new Error(message), { code });
}
