/**
 * Handed to an agent by `node --import`: keeps its garbage collector at work, as a leak or a cluster
 * much larger than a lab would. Half of what it makes lives on for a while, so that it is copied, too.
 */
const objects = 100_000;
const rounds = 20;
const everyMs = 100;
const kept: object[][] = [];

setInterval(() => {
  kept.push(Array.from({ length: objects }, (_, index) => ({ index, text: `garbage ${index}` })));
  if (kept.length > rounds) kept.splice(0, rounds / 2);
}, everyMs).unref();
