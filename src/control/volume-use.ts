import { configOf, incarnationId, type View } from './view.js';

/**
 * Who has a volume of the definition that stands, in words: by assignment, else by what a host said last
 * and may have still. Empty: nobody.
 */
export function volumeUse(view: View, volume: string): readonly string[] {
  const config = configOf(view);
  const placed = (config?.personalities ?? []).flatMap(({ name, storage }) => {
    const owner = view.assignments.get(`personality/${name}`)?.value;
    if (!storage.some((one) => one.volume === volume)) return [];
    if (owner === undefined || owner.host === null) return [];
    return [`${name} has it on ${owner.host}, epoch ${owner.epoch}`];
  });
  if (placed.length > 0) return placed;
  return (config?.hosts ?? []).flatMap(({ name: host }) => {
    const said = view.reports.get(host)?.value;
    const incarnation = view.hosts.get(host)?.value.incarnation;
    // What an earlier incarnation had, this one has taken down; one that is proven off writes nothing.
    if (incarnation === undefined || said?.incarnation !== incarnation) return [];
    if (view.fenced.has(incarnationId(host, incarnation))) return [];
    return said.personalities
      .filter(({ volumes }) => volumes.some(({ name }) => name === volume))
      .map(({ name }) => `${host} has not let go of it yet, for ${name}`);
  });
}
