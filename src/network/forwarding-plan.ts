import { ipBytes, ipText } from './addresses.js';
import { floodMac } from './netlink/neighbours.js';

export interface Destination {
  readonly mac: string;
  readonly via: string;
}

export interface ForwardingPlan {
  readonly remove: readonly Destination[];
  readonly replace: readonly Destination[];
  readonly append: readonly Destination[];
}

/**
 * How to get from the entries a VXLAN device has to exactly those it should have. Removals are to
 * be done first: they shut somebody out. A MAC that moved is one replacement, never a gap.
 */
export function planForwarding(
  current: readonly Destination[],
  unicast: readonly Destination[],
  flood: readonly string[],
): ForwardingPlan {
  const canonical = canonicalAddresses();
  const wanted = new Map<string, Set<string>>();
  for (const { mac, via } of unicast) wanted.set(mac.toLowerCase(), new Set([canonical(via)]));
  wanted.set(floodMac, new Set(flood.map(canonical)));

  const there = new Map<string, Set<string>>();
  for (const { mac, via } of current) {
    const vias = there.get(mac) ?? new Set();
    there.set(mac, vias.add(canonical(via)));
  }
  const plan = {
    remove: [] as Destination[],
    replace: [] as Destination[],
    append: [] as Destination[],
  };
  for (const [mac, vias] of there) {
    const wantedVias = wanted.get(mac) ?? new Set();
    const surplus = [...vias].filter((via) => !wantedVias.has(via));
    // The one destination of a MAC that moved is replaced below.
    const moved = mac !== floodMac && vias.size === 1 && wantedVias.size === 1;
    if (!moved) plan.remove.push(...surplus.map((via) => ({ mac, via })));
  }
  for (const [mac, vias] of wanted) {
    for (const via of vias) {
      if (there.get(mac)?.has(via)) continue;
      (mac === floodMac ? plan.append : plan.replace).push({ mac, via });
    }
  }
  return plan;
}

/** One spelling for each address; few hosts stand behind many entries. */
function canonicalAddresses(): (address: string) => string {
  const known = new Map<string, string>();
  return (address) => {
    const text = known.get(address) ?? ipText(ipBytes(address));
    known.set(address, text);
    return text;
  };
}
