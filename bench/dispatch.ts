import { compile, ownPlace } from './bench-plane.js';
import { changes } from './dispatch-change.js';
import { costs } from './dispatch-cost.js';
import { endToEnd } from './dispatch-veth.js';

/** `npm run bench:dispatch`: what a packet costs, how many go through, how soon changes apply. Needs root and clang. */
compile();
const { place, remove } = ownPlace();
try {
  process.stdout.write(`${await costs(place)}\n`);
  process.stdout.write(`${await endToEnd(place)}\n`);
  process.stdout.write(`${await changes(place)}\n`);
} finally {
  remove();
}
