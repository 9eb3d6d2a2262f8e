import type { Timeline } from '../../src/control/timeline.js';

const step =
  (name: 'detect' | 'decide' | 'network' | 'fence' | 'storage' | 'announce') =>
  (startMs: number, endMs: number, host: string) =>
    ({ name, startMs, endMs, host, ok: true, detail: '' }) as const;

/** A failover as a record tells it. */
export const failoverOfWeb1: Timeline = {
  id: 'web1-2',
  personality: 'web1',
  kind: 'personality',
  from: 'h3',
  to: 'h1',
  epoch: 2,
  cause: 'lease-expired',
  reason: '2 of 3 controllers voted h3/1 expired; h1 is a spare, first of 2 in pool default',
  evidence: [{ controller: 'h1', lastAckAgoMs: 202 }],
  steps: [
    step('detect')(0, 206, 'h2'),
    step('decide')(206, 209, 'h2'),
    step('network')(212, 238, 'h1'),
    step('fence')(212, 221, 'h1'),
    step('storage')(221, 249, 'h1'),
    step('announce')(249, 252, 'h1'),
  ],
  outcome: 'ok',
  verifiedBy: 'h2',
  committedBy: 'h2',
  atUnixMs: 1_795_000_000_000,
  clockOffset: 'counted-from-delivery',
};
