import type { ClusterFacts, MemberFacts } from './facts.js';
import { type Check, type Finding, notApplicable, ok, problem, warning } from './types.js';

/** Deadline of the store client's first tries (src/store/etcd/members.ts). */
const tryMs = 100;
const slowMs = 30;
/** Default quota of etcd is 2 GiB; what this program keeps is a thousandth of that. */
const largeDatabaseBytes = 1024 ** 3;

/** etcd, on which every failover is decided. */
export const storeChecks: readonly Check<ClusterFacts>[] = [
  {
    id: 'store-answers',
    title: 'etcd answers',
    judge: ({ storeTrouble, members }) =>
      storeTrouble === undefined
        ? ok(members.map(({ endpoint }) => endpoint).join(', '))
        : problem(storeTrouble, 'start etcd, or correct store.endpoints in agent.yaml'),
  },
  {
    id: 'store-members',
    title: 'etcd members',
    judge: ({ members }) => {
      const down = members.filter(({ trouble }) => trouble !== undefined);
      if (down.length === 0) return ok(`${members.length} of ${members.length} up`);
      return problem(
        `${members.length - down.length} of ${members.length} up; no answer from ${down.map(({ endpoint, trouble }) => `${endpoint} (${trouble})`).join(', ')}`,
        'start them again: one failure more may be one too many',
      );
    },
  },
  {
    id: 'store-quorum',
    title: 'etcd quorum',
    judge: ({ members }) => {
      const up = members.filter(({ trouble }) => trouble === undefined);
      const leaders = new Set(up.map(({ leader }) => leader).filter((leader) => leader !== '0'));
      const needed = Math.floor(members.length / 2) + 1;
      if (up.length < needed || leaders.size === 0) {
        return problem(
          `${up.length} of ${members.length} up, ${needed} are a quorum, ${leaders.size === 0 ? 'no' : 'a'} leader: failovers wait, traffic goes on`,
          'bring members back until a majority runs',
        );
      }
      return members.length === 1
        ? warning('one member: when it is lost, failovers wait', 'run etcd with three members')
        : ok(
            `${up.length} of ${members.length} up, one leader; ${up.length - needed} may fail yet`,
          );
    },
  },
  {
    id: 'store-latency',
    title: 'etcd transactions',
    judge: ({ transactionsMs }) => {
      if (transactionsMs.length === 0) return notApplicable('the store gave no answer');
      const sorted = [...transactionsMs].sort((a, b) => a - b);
      const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
      const saw = `median ${median.toFixed(1)} ms of ${sorted.length}, slowest ${(sorted.at(-1) ?? 0).toFixed(1)} ms`;
      const remedy =
        'faster disks for etcd (its WAL is synced at each write), or less on them; see etcd_disk_wal_fsync_duration_seconds';
      if (median >= tryMs)
        return problem(`${saw}: tries run into their deadline of ${tryMs} ms`, remedy);
      return median >= slowMs ? warning(`${saw}: it is part of each failover`, remedy) : ok(saw);
    },
  },
  {
    id: 'store-alarms',
    title: 'etcd alarms',
    judge: ({ members }) =>
      eachUp(members, () => {
        const alarms = members.flatMap(({ endpoint, alarms }) =>
          alarms.map((alarm) => `${alarm} (${endpoint})`),
        );
        return alarms.length === 0
          ? ok('none')
          : problem(
              `${alarms.join(', ')}: writes are refused`,
              'NOSPACE: compact, defragment, etcdctl alarm disarm; CORRUPT: replace the member',
            );
      }),
  },
  {
    id: 'store-size',
    title: 'etcd database',
    judge: ({ members }) =>
      eachUp(members, (up) => {
        const largest = Math.max(...up.map(({ databaseBytes }) => databaseBytes));
        const saw = `${(largest / 1024 / 1024).toFixed(1)} MiB`;
        return largest < largeDatabaseBytes
          ? ok(saw)
          : warning(
              saw,
              'see that auto-compaction is on (docs/install.md), then etcdctl defrag; see who else writes to it',
            );
      }),
  },
  {
    id: 'store-versions',
    title: 'etcd versions',
    judge: ({ members }) =>
      eachUp(members, (up) => {
        const versions = [...new Set(up.map(({ version }) => version))];
        return versions.length === 1
          ? ok(versions.join(''))
          : warning(`members run ${versions.join(', ')}`, 'finish the upgrade of etcd');
      }),
  },
];

function eachUp(
  members: readonly MemberFacts[],
  judge: (up: readonly MemberFacts[]) => Finding,
): Finding {
  const up = members.filter(({ trouble }) => trouble === undefined);
  return up.length === 0 ? notApplicable('no member answers') : judge(up);
}
