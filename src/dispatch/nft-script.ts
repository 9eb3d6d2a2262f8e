import { createHash } from 'node:crypto';
import { flowsTo, nftTable, otherCounts, packetsTo, rulesOf } from './nft-rules.js';
import { buildTable, noMember } from './table.js';
import type { DispatchSpec } from './types.js';

/** What stands, or is to stand, in a service's nftables table. */
export interface NftState {
  readonly rules: readonly string[];
  /** MAC by slot; '' for none. */
  readonly slots: readonly string[];
  /** MAC by personality, of members that have one. */
  readonly members: ReadonlyMap<string, string>;
  /** Which NIC has the rules: they are gone with it, and another one by its name has none. */
  readonly nicId: string;
  /** Name of an empty chain that tells a later process that just this stands. */
  readonly mark: string;
}

/** @throws {UnderstudyError} US_DISPATCH_SPEC */
export function nftState(spec: DispatchSpec, nic: string, nicId: string): NftState {
  const { members, slots } = buildTable(spec);
  const macs = members.map(({ mac }) => mac);
  const state = {
    nicId,
    rules: rulesOf(spec, nic),
    slots: Array.from(slots, (index) => (index === noMember ? '' : (macs[index] ?? ''))),
    members: new Map(
      members.filter(({ mac }) => mac !== '').map(({ personality, mac }) => [personality, mac]),
    ),
  };
  const text = JSON.stringify([nicId, state.rules, state.slots, [...state.members]]);
  return { ...state, mark: `is-${createHash('sha256').update(text).digest('hex').slice(0, 32)}` };
}

const empty: NftState = { rules: [], slots: [], members: new Map(), nicId: '', mark: '' };

/**
 * What `nft -f` has to do so that `wanted` stands instead of `before`: one transaction, no packet sees half of it.
 * Counters of members that stay go on.
 *
 * @param before undefined: whatever stands, all of it is replaced
 */
export function nftScript(before: NftState | undefined, wanted: NftState, nic: string): string {
  const was = before?.nicId === wanted.nicId ? before : empty;
  return [
    ...(was === empty ? frame(nic) : [`flush table ${nftTable}`]),
    ...changedMembers(was, wanted),
    ...changedSlots(was, wanted),
    ...wanted.rules,
    ...(was.mark === '' ? [] : [`delete chain ${nftTable} ${was.mark}`]),
    `add chain ${nftTable} ${wanted.mark}`,
    '',
  ].join('\n');
}

/** Takes the table away; there need not be one. */
export const nftRemoval = `add table ${nftTable}\ndelete table ${nftTable}\n`;

function frame(nic: string): readonly string[] {
  return [
    nftRemoval.trim(),
    `add table ${nftTable}`,
    ...otherCounts.map((name) => `add counter ${nftTable} ${name}`),
    `add map ${nftTable} slots { type mark : ether_addr; size 65537; }`,
    `add map ${nftTable} to { type ether_addr : counter; }`,
    `add map ${nftTable} begun { type ether_addr : counter; }`,
    ...['send', 'v4', 'v6'].map((name) => `add chain ${nftTable} ${name}`),
    `add chain ${nftTable} in { type filter hook ingress device "${nic}" priority 0; policy accept; }`,
  ];
}

function changedMembers(was: NftState, wanted: NftState): readonly string[] {
  const maps = [
    ['to', packetsTo],
    ['begun', flowsTo],
  ] as const;
  const lines: string[] = [];
  for (const [name, mac] of was.members) {
    if (wanted.members.get(name) === mac) continue;
    for (const [map, counter] of maps) {
      lines.push(`delete element ${nftTable} ${map} { ${mac} : "${counter(name)}" }`);
      if (!wanted.members.has(name)) lines.push(`delete counter ${nftTable} ${counter(name)}`);
    }
  }
  for (const [name, mac] of wanted.members) {
    if (was.members.get(name) === mac) continue;
    for (const [map, counter] of maps) {
      if (!was.members.has(name)) lines.push(`add counter ${nftTable} ${counter(name)}`);
      lines.push(`add element ${nftTable} ${map} { ${mac} : "${counter(name)}" }`);
    }
  }
  return lines;
}

function changedSlots(was: NftState, wanted: NftState): readonly string[] {
  const gone: string[] = [];
  const come: string[] = [];
  for (const [slot, mac] of wanted.slots.entries()) {
    const before = was.slots[slot] ?? '';
    if (before === mac) continue;
    if (before !== '') gone.push(`${slot}`);
    if (mac !== '') come.push(`${slot} : ${mac}`);
  }
  const line = (verb: string, elements: readonly string[]) =>
    elements.length === 0 ? [] : [`${verb} element ${nftTable} slots { ${elements.join(', ')} }`];
  return [...line('delete', gone), ...line('add', come)];
}
