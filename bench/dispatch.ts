import { compile, ownPlace } from './bench-plane.js';
import { costs } from './dispatch-cost.js';
import { endToEnd } from './dispatch-veth.js';

/** `npm run bench:dispatch`: what a packet costs, and how many go through. Needs root and clang. */
compile();
const { place, remove } = ownPlace();
try {
  process.stdout.write(`${await costs(place)}\n`);
  process.stdout.write(`${await endToEnd(place)}\n`);
} finally {
  remove();
}
