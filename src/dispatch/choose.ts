import { type ClientFlow, hashKey, slotOf } from './flow.js';
import { nftSlotOf } from './nft-hash.js';
import { buildTable, keyOf, noMember, slotCount } from './table.js';
import type { Choice, DispatchSpec } from './types.js';

export type { ClientFlow } from './flow.js';

/**
 * The member that a client's packets go to, by the very table and hash that the data plane has (nftables, where
 * `dataPlane` says so).
 *
 * @returns undefined when no member can take it: its packets are dropped
 * @throws {UnderstudyError} US_DISPATCH_SPEC
 */
export function choose(spec: DispatchSpec, flow: ClientFlow): Choice | undefined {
  return chooser(spec)(flow);
}

/** The same for many clients: the table is built once. @throws {UnderstudyError} US_DISPATCH_SPEC */
export function chooser(spec: DispatchSpec): (flow: ClientFlow) => Choice | undefined {
  const { members, slots } = buildTable(spec);
  const seed = keyOf(spec);
  const key = hashKey(seed);
  const byNft = spec.dataPlane === 'nftables';
  return (flow) => {
    const slot = byNft ? nftSlotOf(seed, spec.hash, flow, slotCount) : slotOf(key, spec.hash, flow);
    const member = members[slots[slot] ?? noMember];
    return member === undefined ? undefined : { slot, member: member.personality, mac: member.mac };
  };
}
