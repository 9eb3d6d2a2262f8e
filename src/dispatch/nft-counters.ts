import type { TrafficReport } from '../control/records.js';
import { flowsTo, otherCounts, packetsTo } from './nft-rules.js';

interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** What of a table can be asked for in some ms: with `--terse` sets are left out. */
export const nftListing = ['--json', '--terse', 'list', 'ruleset'];

interface Listed {
  readonly counters: ReadonlyMap<string, Count>;
  /** Names of chains. */
  readonly chains: readonly string[];
}

/** @param text as `nftListing` says it; of our table alone */
export function readNftListing(text: string): Listed {
  const { nftables } = JSON.parse(text) as { nftables: readonly NftItem[] };
  const counters = new Map<string, Count>();
  const chains: string[] = [];
  for (const { counter, chain } of nftables) {
    if (counter?.family === 'netdev' && counter.table === 'understudy') {
      counters.set(counter.name, { packets: counter.packets, bytes: counter.bytes });
    }
    if (chain?.family === 'netdev' && chain.table === 'understudy') chains.push(chain.name);
  }
  return { counters, chains };
}

interface NftItem {
  readonly counter?: Named & Count;
  readonly chain?: Named;
}

interface Named {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

/** A batch that the kernel received as one counts as one packet here. */
export function nftTraffic(
  service: string,
  members: Iterable<string>,
  counters: ReadonlyMap<string, Count>,
): TrafficReport {
  const of = (name: string) => counters.get(name) ?? { packets: 0, bytes: 0 };
  const forwarded = [...members].sort().map((personality) => ({
    personality,
    ...of(packetsTo(personality)),
    newFlows: of(flowsTo(personality)).packets,
  }));
  const [passed = 0, ...others] = otherCounts.map((name) => of(name).packets);
  const dropped = Object.fromEntries(
    otherCounts.slice(1).map((name, at) => [name, others[at] ?? 0] as const),
  );
  const sent = forwarded.reduce((sum, { packets }) => sum + packets, 0);
  const lost = others.reduce((sum, count) => sum + count, 0);
  return {
    service,
    received: sent + passed + lost,
    forwarded,
    passed,
    dropped,
    by: 'nftables',
  };
}
