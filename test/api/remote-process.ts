import { openRemote } from './remote-stage.js';

/** An API in a process of its own, so that what it costs can be told from what its callers cost. */
const undo: (() => unknown)[] = [];
const { port, admin } = await openRemote(
  { teardown: (work) => undo.push(work), comment: () => {} },
  { slowestRequestMs: 500 },
);
process.send?.({ port, admin });
process.once('disconnect', () => {
  for (const work of undo.reverse()) void work();
});
