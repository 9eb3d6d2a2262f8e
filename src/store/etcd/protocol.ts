import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/**
 * etcd's gRPC interface, as far as it is used: https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/
 *
 * The definitions come with the etcd3 package; its client is left aside, since each of its layers
 * (pool, retries, watch manager, leases, elections) has an unsafe default of its own. 64-bit
 * numbers arrive as text.
 */
const proto = join(
  dirname(createRequire(import.meta.url).resolve('etcd3/package.json')),
  'proto',
  'rpc.proto',
);
const definitions = loadSync(proto, {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
});

function method<Request extends object, Response extends object>(service: string, name: string) {
  const found = definitions[`etcdserverpb.${service}`] as ServiceDefinition | undefined;
  const definition = found?.[name];
  if (definition === undefined) throw new Error(`${proto} lacks ${service}.${name}`);
  return definition as unknown as MethodDefinition<Request, Response>;
}

export const methods = {
  range: method<RangeRequest, RangeResponse>('KV', 'Range'),
  txn: method<TxnRequest, TxnResponse>('KV', 'Txn'),
  compact: method<{ revision: string }, { header: Header }>('KV', 'Compact'),
  watch: method<WatchRequest, WatchResponse>('Watch', 'Watch'),
  leaseGrant: method<{ ID: string; TTL: string }, LeaseResponse>('Lease', 'LeaseGrant'),
  leaseRevoke: method<{ ID: string }, { header: Header }>('Lease', 'LeaseRevoke'),
  status: method<Record<string, never>, StatusResponse>('Maintenance', 'Status'),
  alarm: method<{ action: string }, AlarmResponse>('Maintenance', 'Alarm'),
  leaseKeepAlive: method<{ ID: string }, LeaseResponse>('Lease', 'LeaseKeepAlive'),
};

export interface Header {
  readonly cluster_id: string;
  readonly revision: string;
}

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly lease: string;
}

export interface RangeRequest {
  readonly key: Buffer;
  readonly range_end?: Buffer;
  readonly limit?: string;
  /** Read as of this revision; left out: the newest that a majority knows. */
  readonly revision?: string;
  readonly count_only?: boolean;
}

export interface RangeResponse {
  readonly header: Header;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
}

export interface TxnCompare {
  readonly key: Buffer;
  readonly result: 'Equal' | 'Greater';
  readonly target: 'Create' | 'Mod' | 'Value';
  readonly create_revision?: string;
  readonly mod_revision?: string;
  readonly value?: Buffer;
}

export type TxnOperation =
  | {
      readonly request_put: {
        readonly key: Buffer;
        readonly value: Buffer;
        readonly lease?: string;
      };
    }
  | { readonly request_delete_range: { readonly key: Buffer } }
  | { readonly request_range: { readonly key: Buffer } };

export interface TxnRequest {
  readonly compare: readonly TxnCompare[];
  readonly success: readonly TxnOperation[];
  readonly failure: readonly TxnOperation[];
}

export interface TxnResponse {
  readonly header: Header;
  readonly succeeded: boolean;
  readonly responses: readonly { readonly response_range?: RangeResponse | null }[];
}

export type WatchRequest =
  | {
      readonly create_request: {
        readonly key: Buffer;
        readonly range_end: Buffer;
        readonly start_revision: string;
      };
    }
  | { readonly progress_request: Record<string, never> };

export interface WatchResponse {
  readonly header: Header;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly compact_revision: string;
  readonly cancel_reason: string;
  readonly events: readonly { readonly type: 'Put' | 'Delete'; readonly kv: KeyValue }[];
}

export interface LeaseResponse {
  readonly header: Header;
  readonly ID: string;
  /** Seconds; 0 for a lease that is gone. */
  readonly TTL: string;
}

export interface StatusResponse {
  readonly header: Header & { readonly member_id: string };
  /** Member id of the leader as this member knows it; '0' for none. */
  readonly leader: string;
  readonly version: string;
  readonly dbSize: string;
}

export interface AlarmResponse {
  readonly alarms: readonly { readonly memberID: string; readonly alarm: string }[];
}

/** The end of the range of all keys that begin with `prefix`: its last byte, one more. */
export function rangeEnd(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  // A prefix is UTF-8 here and never empty, so that no byte of it is 0xff.
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  return end;
}
