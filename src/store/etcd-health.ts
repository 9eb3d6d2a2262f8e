import { EtcdMember } from './etcd/member.js';
import { methods } from './etcd/protocol.js';
import type { StoreSettings, TlsFiles } from './settings.js';
import { inWords } from './wording.js';

/** How one etcd member is, as it says itself. */
export interface EtcdHealth {
  readonly endpoint: string;
  /** Why it gave no answer. */
  readonly trouble: string | undefined;
  readonly version: string;
  readonly tookMs: number;
  /** Member id of the leader that it follows; '0' for none. */
  readonly leader: string;
  readonly databaseBytes: number;
  readonly alarms: readonly string[];
}

/** Asks every member for itself, so that one that is away hides behind no other. */
export async function etcdHealth(
  { endpoints, tls }: StoreSettings,
  timeoutMs: number,
): Promise<readonly EtcdHealth[]> {
  return Promise.all(endpoints.map((endpoint) => healthOf(endpoint, tls, timeoutMs)));
}

async function healthOf(
  endpoint: string,
  tls: TlsFiles | undefined,
  timeoutMs: number,
): Promise<EtcdHealth> {
  const member = new EtcdMember(endpoint, tls);
  const startedMs = performance.now();
  try {
    const status = await member.call(methods.status, {}, timeoutMs);
    const tookMs = performance.now() - startedMs;
    const { alarms } = await member.call(methods.alarm, { action: 'GET' }, timeoutMs);
    return {
      endpoint,
      trouble: undefined,
      version: status.version,
      tookMs,
      leader: status.leader,
      databaseBytes: Number(status.dbSize),
      alarms: alarms
        .filter(({ memberID }) => memberID === status.header.member_id)
        .map(({ alarm }) => alarm),
    };
  } catch (thrown) {
    const none = { version: '', tookMs: 0, leader: '0', databaseBytes: 0, alarms: [] };
    return { endpoint, trouble: inWords(thrown), ...none };
  } finally {
    member.close();
  }
}
