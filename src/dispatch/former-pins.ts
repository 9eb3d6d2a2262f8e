import { readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { type BpfPlace, pinFolder } from '../bpf/place.js';
import { unpin } from '../bpf/programs.js';

/** As former versions named what they pinned for one service. */
const formerName = /^dispatch-/;
/** Links of XDP programs stand beside the maps. */
const linkName = /^xdp-/;

/**
 * Takes away what former versions pinned: maps that have another name today, and those that each service
 * had for itself. A program that is still attached keeps its maps until it is replaced.
 *
 * @param known names in the dispatcher's folder that are in use
 */
export function removeFormerPins(place: BpfPlace, known: ReadonlySet<string>): void {
  const top = pinFolder(place);
  for (const entry of readdirSync(top, { withFileTypes: true })) {
    if (!formerName.test(entry.name)) continue;
    const path = join(top, entry.name);
    if (!entry.isDirectory()) {
      unpin(path);
      continue;
    }
    for (const name of readdirSync(path)) unpin(join(path, name));
    rmdirSync(path);
  }
  const own = pinFolder(place, 'dispatch');
  for (const name of readdirSync(own)) {
    if (!known.has(name) && !linkName.test(name)) unpin(join(own, name));
  }
}
