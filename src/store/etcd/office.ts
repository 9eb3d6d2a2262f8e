import { status } from '@grpc/grpc-js';
import type { OfficePort, Renewal } from '../campaign.js';
import type { Timers } from '../timers.js';
import type { Codec } from './codec.js';
import { codeOf, type Members } from './members.js';
import { methods } from './protocol.js';

/** Leases and the election key, in etcd. */
export function etcdOffice(
  members: Members,
  codec: Codec,
  timers: Timers,
  watchSeat: OfficePort['watchSeat'],
): OfficePort {
  return {
    grant: (lease, ttlSeconds) => grant(members, timers, lease, ttlSeconds),

    async renew(lease, budgetMs): Promise<Renewal> {
      const what = { action: 'cannot renew', object: 'the office lease' };
      return members.call(what, { budgetMs }, async (member, deadlineMs) => {
        const sentMs = timers.nowMs();
        const request = { ID: String(lease) };
        const { TTL } = await member.exchange(methods.leaseKeepAlive, request, deadlineMs);
        return { sentMs, ttlMs: Number(TTL) * 1000 };
      });
    },

    async revoke(lease) {
      const what = { action: 'cannot revoke', object: 'the office lease' };
      await members.call(
        what,
        { budgetMs: members.patience.office.revokeBudgetMs },
        async (member, deadlineMs) => {
          try {
            await member.call(methods.leaseRevoke, { ID: String(lease) }, deadlineMs);
          } catch (thrown) {
            if (codeOf(thrown) !== status.NOT_FOUND) throw thrown;
          }
        },
      );
    },

    async claim(key, value, lease) {
      const transaction = {
        compare: [{ kind: 'absent', key }],
        write: [{ kind: 'put', key, value }],
      } as const;
      const request = codec.transaction(transaction, lease);
      const what = { action: 'cannot claim', object: key };
      const budgetMs = members.patience.office.standBudgetMs;
      const answer = await members.call(what, { budgetMs }, (member, deadlineMs) =>
        member.call(methods.txn, request, deadlineMs),
      );
      if (answer.succeeded) return Number(answer.header.revision);
      // An earlier try of ours may have been carried out although its answer never came.
      const holder = answer.responses[0]?.response_range?.kvs[0];
      return holder?.lease === String(lease) ? Number(holder.mod_revision) : undefined;
    },

    watchSeat,
  };
}

/** The lease has a name of our choice: that it exists already means an earlier try was carried out. */
async function grant(
  members: Members,
  timers: Timers,
  lease: bigint,
  ttlSeconds: number,
): Promise<Renewal> {
  const what = { action: 'cannot grant', object: 'the office lease' };
  // From the first try: any of them may be the one that was carried out.
  const sentMs = timers.nowMs();
  const budgetMs = members.patience.office.standBudgetMs;
  return members.call(what, { budgetMs }, async (member, deadlineMs) => {
    try {
      const request = { ID: String(lease), TTL: String(ttlSeconds) };
      const { TTL } = await member.call(methods.leaseGrant, request, deadlineMs);
      return { sentMs, ttlMs: Number(TTL) * 1000 };
    } catch (thrown) {
      const exists = codeOf(thrown) === status.FAILED_PRECONDITION;
      if (!exists || !/lease already exists/.test(String(thrown))) throw thrown;
      return { sentMs, ttlMs: ttlSeconds * 1000 };
    }
  });
}
