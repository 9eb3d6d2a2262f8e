import type { Test } from 'tap';
import type { PulsePeer, PulseRequest } from '../../src/pulse/protocol.js';
import { type Daemon, Farm } from './farm.js';

export const leaseMs = 200;
export const promiseMs = 202;
const timing = { leaseMs, clockMarginPercent: 1 };
/** For tests that say what must not lapse: a busy machine holds a process up for 100 ms. */
export const roomy = { leaseMs: 1_000, clockMarginPercent: 1 };

/** Three controllers c1..c3 and a host h, each a pulse process; nothing told to them yet. */
export interface SmallCluster {
  readonly farm: Farm;
  readonly controllers: readonly [Daemon, Daemon, Daemon];
  readonly host: Daemon;
}

export async function startCluster(t: Test): Promise<SmallCluster> {
  const farm = new Farm();
  t.teardown(() => farm.close());
  const [c1, c2, c3, host] = await Promise.all([
    farm.start(farm.peer('c1', 1)),
    farm.start(farm.peer('c2', 2)),
    farm.start(farm.peer('c3', 3)),
    farm.start(farm.peer('h', 9)),
  ]);
  return { farm, controllers: [c1, c2, c3], host };
}

export function control(
  controller: Daemon,
  hosts: readonly PulsePeer[],
  more: Partial<Extract<PulseRequest, { kind: 'control' }>> = {},
): PulseRequest {
  const watched = hosts.map(({ name: host }) => ({ host, incarnation: 1 }));
  const { name } = controller.peer;
  return { kind: 'control', controller: name, hosts, stopped: [], watched, ...timing, ...more };
}

export function enrol(
  host: Daemon,
  controllers: readonly PulsePeer[],
  more: Partial<Extract<PulseRequest, { kind: 'enrol' }>> = {},
): PulseRequest {
  return {
    kind: 'enrol',
    host: host.peer.name,
    incarnation: 1,
    controllers,
    heartbeatMs: 50,
    enforce: true,
    guardMapPath: host.mapPath,
    ...timing,
    ...more,
  };
}

/** Tells everybody, and returns when the lease is held. */
export async function settle(
  { controllers, host }: SmallCluster,
  times: { readonly leaseMs: number; readonly clockMarginPercent: number } = timing,
  heartbeatMs = 50,
): Promise<void> {
  for (const controller of controllers) {
    await controller.order(control(controller, [host.peer], times));
  }
  const peers = controllers.map(({ peer }) => peer);
  await host.order(enrol(host, peers, { ...times, heartbeatMs }));
  await host.next('lease-held');
}

/** A lease is held with a majority; this waits until the last controller has promised too. */
export async function everybodyPromised({
  controllers,
}: Pick<SmallCluster, 'controllers'>): Promise<void> {
  for (const controller of controllers) {
    while (((await controller.status()).counters.promised ?? 0) === 0);
  }
}
