import type { Packet } from '../../pulse/packet.js';
import type { Check, CheckParts } from './check.js';

/** Heartbeats of one host whose acknowledgements may still arrive. */
const remembered = 50_000;

interface Held {
  /** Controller → send time of the newest heartbeat that it acknowledged; the host's clock, ns. */
  readonly ackedNs: Map<string, number>;
  waiting: boolean;
}

/**
 * A lease worked out from packets alone: the time at which this check saw a heartbeat leave, and the
 * acknowledgements that it saw arrive. Frames may pass only before the majority-th newest of those
 * send times plus the lease; and a controller whose acknowledgement could still carry a lease must
 * not vote.
 */
export function leases(parts: CheckParts): Check {
  const { world, store, violated } = parts;
  const { controllers, timing, fencing } = world.config;
  const leaseNs = timing.leaseMs * 1e6;
  const majority = Math.floor(controllers.length / 2) + 1;
  const sentNs = new Map<string, number>();
  const held = new Map<string, Held>();
  /** `controller>host/incarnation` → newest send time, on the host's clock, that it acknowledged. */
  const promised = new Map<string, { readonly leftNs: number; readonly boot: number }>();

  const endNs = ({ ackedNs }: Held): number => {
    const times = [...ackedNs.values()].sort((a, b) => b - a);
    const decisive = times[majority - 1];
    return decisive === undefined ? 0 : decisive + leaseNs;
  };
  const look = () => {
    if (!fencing.enforce) return;
    for (const { name, up, kernel, clock } of world.hosts.values()) {
      if (!up) continue;
      for (const nic of kernel.nics()) {
        if (!kernel.passes(nic)) continue;
        const lease = held.get(`${name}/${nic.incarnation}`);
        const end = lease === undefined ? 0 : endNs(lease);
        if (clock.nowNs() < end) continue;
        const lateMs = (clock.nowNs() - end) / 1e6;
        violated(
          'within-lease',
          `${nic.namespace} passes frames on ${name}/${nic.incarnation} ${lateMs.toFixed(3)} ms after its lease`,
        );
      }
    }
  };
  /** Looks again at the very instant of the lease's end, whatever that is by then. */
  const lookAtEnd = (host: string, lease: Held) => {
    if (lease.waiting) return;
    lease.waiting = true;
    world.time.at(world.host(host).clock.whenNs(endNs(lease)), () => {
      lease.waiting = false;
      const { clock } = world.host(host);
      if (clock.nowNs() < endNs(lease)) lookAtEnd(host, lease);
      else look();
    });
  };
  const acked = (to: string, packet: Packet) => {
    const { incarnation, sender } = packet;
    const leftNs = sentNs.get(heartbeatId(to, sender, packet));
    if (leftNs === undefined) return;
    const id = `${to}/${incarnation}`;
    const lease = held.get(id) ?? { ackedNs: new Map<string, number>(), waiting: false };
    held.set(id, lease);
    lease.ackedNs.set(sender, Math.max(lease.ackedNs.get(sender) ?? 0, leftNs));
    if (endNs(lease) > 0) lookAtEnd(to, lease);
  };
  const noteAck = (controller: string, packet: Packet) => {
    const { receiver: host, incarnation } = packet;
    const id = `${host}/${incarnation}`;
    if (store.votes.get(id)?.has(controller)) {
      violated('promise-kept', `${controller} acknowledges ${id}, which it voted expired`);
    }
    const leftNs = sentNs.get(heartbeatId(host, controller, packet));
    if (leftNs === undefined) return;
    const link = `${controller}>${id}`;
    const before = promised.get(link);
    const { boots: boot } = world.host(host);
    if (before?.boot !== boot || leftNs > before.leftNs) promised.set(link, { leftNs, boot });
  };
  return {
    look,
    sent: (from, packet) => {
      if (packet.type === 'ack') noteAck(from, packet);
      if (packet.type !== 'heartbeat') return;
      if (sentNs.size > remembered) for (const key of oldest(sentNs)) sentNs.delete(key);
      const id = heartbeatId(from, packet.receiver, packet);
      sentNs.set(id, world.host(from).clock.nowNs());
    },
    arrived: (to, packet) => {
      if (packet.type === 'ack') acked(to, packet);
    },
    stored: ({ key, value }) => {
      const [head, host = '', incarnation = '', controller = ''] = key.split('/');
      if (head !== 'votes' || (value as { state?: string } | undefined)?.state !== 'expired')
        return;
      const id = `${host}/${incarnation}`;
      if (store.votes.get(id)?.has(controller)) return;
      const last = promised.get(`${controller}>${id}`);
      const { up, clock, boots } = world.host(host);
      // A power cut ends every lease, whatever was promised.
      if (!up || last?.boot !== boots) return;
      const leftNs = last.leftNs + leaseNs - clock.nowNs();
      if (leftNs <= 0) return;
      violated(
        'promise-kept',
        `${controller} votes ${id} expired, and its last promise has ${(leftNs / 1e6).toFixed(3)} ms to run`,
      );
    },
  };
}

function heartbeatId(host: string, controller: string, { nonce, seq }: Packet): string {
  return `${host}>${controller}/${nonce}/${seq}`;
}

/** A map keeps the order of insertion. */
function oldest(map: ReadonlyMap<string, unknown>): readonly string[] {
  const keys: string[] = [];
  for (const key of map.keys()) {
    if (keys.length >= remembered / 2) break;
    keys.push(key);
  }
  return keys;
}
