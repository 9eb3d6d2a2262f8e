import type { ApiSource } from '../../src/api/types.js';
import { statusOf } from '../../src/control/status.js';
import { timelinesOf } from '../../src/control/timeline.js';
import { clusterConfig, World, web1, web2 } from '../control/world.js';

const world = new World();
world.assign(web1, 'h1');
world.assign(web2, 'h2');
world.vote('h3', 1, 'h1');
world.vote('h3', 1, 'h2');
world.write('failovers/web1-2', {
  id: 'web1-2',
  kind: 'personality',
  name: 'web1',
  from: 'h3',
  fromIncarnation: 1,
  to: 'h1',
  epoch: 2,
  cause: 'lease-expired',
  reason: '',
  evidence: [],
  committedBy: 'h1',
  atUnixMs: 1_700_000_000_000,
  zeroMs: 1_000,
  votedMs: 1_205,
  commitMs: 1_210,
  bootId: 'boot',
});

const disk = {
  ...{ name: 'web1-data', lun: 0, device: '/dev/loop0', mount: '/srv', portal: '10.77.0.1:3260' },
  ...{ target: 'iqn.2026-11.example:web1', targetLun: 1, serial: 's', sizeBytes: 64 << 20 },
};
world.write('report/h1', {
  ...{ incarnation: 1, granting: true, services: [], health: [] },
  personalities: [{ name: 'web1', epoch: 1, phase: 'running', detail: '', volumes: [disk] }],
});

const lastChange = {
  atUnixMs: 1_700_000_000_000,
  who: 'root',
  from: 'command line on h1',
  what: 'drain',
  subject: 'h2',
  detail: 'drain h2',
} as const;

/** An agent of a cluster in which h3 has failed. */
export function source(changes: Partial<ApiSource> = {}): ApiSource {
  return {
    host: 'h1',
    version: '1.2.3',
    health: async () => ({ store: true, pulse: true }),
    status: async () => statusOf(world.view, clusterConfig(), 'h1', () => new Map([['web1', 7]])),
    failovers: () => timelinesOf(world.view),
    events: async (most) =>
      Array.from({ length: most }, (_, at) => ({
        atUnixMs: at,
        host: 'h1',
        kind: 'vote',
        subject: 'h3',
        text: '',
      })),
    audit: async () => [lastChange],
    lastChange: () => lastChange,
    lease: async () => ({
      remainingMs: 150,
      hosts: [{ host: 'h2', lastAckAgoMs: 20 }],
      counters: { promised: 12, 'bad-mac': 3 },
    }),
    standbys: () => [{ host: 'h3', ageMs: 250 }],
    dispatched: async () => [
      {
        service: 'web',
        received: 12,
        forwarded: [{ personality: 'web1', packets: 7, bytes: 700, newFlows: 2 }],
        passed: 3,
        dropped: { loop: 0, malformed: 2 },
      },
    ],
    ...changes,
  };
}
