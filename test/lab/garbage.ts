/**
 * Handed to an agent by `node --import`: keeps its garbage collector at work, as a leak or a cluster
 * much larger than a lab would. Half of what it makes lives on for a while, so that it is copied, too.
 *
 * So many ms of each hundred and no more, however slow the processor: agents go before ordinary work, and four of
 * them that took all of two cores would starve the observers, of whom a result is asked, and nothing else.
 */
const atATime = 1_000;
const shareMs = 10;
const everyMs = 100;
const rounds = 20;
const kept: object[][] = [];

setInterval(() => {
  const endMs = performance.now() + shareMs;
  while (performance.now() < endMs) {
    kept.push(Array.from({ length: atATime }, (_, index) => ({ index, text: `garbage ${index}` })));
  }
  const most = (rounds * 100_000) / atATime;
  if (kept.length > most) kept.splice(0, most / 2);
}, everyMs).unref();
