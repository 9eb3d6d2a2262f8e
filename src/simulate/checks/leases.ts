import type { Packet } from '../../pulse/packet.js';
import type { Check, CheckParts } from './check.js';

/** Heartbeats of one start of pulse to one controller whose acknowledgements may still arrive. */
const remembered = 8_192;

interface Held {
  /**
   * By set of controllers, then by controller: send time of the newest heartbeat under that set that
   * it acknowledged; the host's clock, ns.
   */
  readonly ackedNs: Map<number, Map<string, number>>;
  waiting: boolean;
}

/**
 * A lease worked out from packets alone: the time at which this check saw a heartbeat leave, and the
 * acknowledgements that it saw arrive. Frames may pass only before the majority-th newest of those
 * send times plus the lease, in each list of the set of controllers that the heartbeats named, as it
 * stood in the store; and a controller whose acknowledgement could still carry a lease must
 * not vote.
 */
export function leases(parts: CheckParts): Check {
  const { world, store, violated } = parts;
  const { timing, fencing } = world.config;
  const leaseNs = timing.leaseMs * 1e6;
  const departures = new Departures();
  const held = new Map<string, Held>();
  /** `controller>host/incarnation` → the heartbeat sent last that it acknowledged. */
  const promised = new Map<string, Departure>();

  const endOfSetNs = (set: number, ackedNs: ReadonlyMap<string, number>): number => {
    const ends = (store.sets.get(set) ?? []).map((names) => {
      const times = names.map((name) => ackedNs.get(name) ?? 0).sort((a, b) => b - a);
      return times[Math.floor(names.length / 2)] ?? 0;
    });
    const decisive = ends.length === 0 ? 0 : Math.min(...ends);
    return decisive === 0 ? 0 : decisive + leaseNs;
  };
  // A deadline is only ever raised: that of another set before still stands.
  const endNs = ({ ackedNs }: Held): number =>
    Math.max(0, ...[...ackedNs].map(([set, acked]) => endOfSetNs(set, acked)));
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
    const sent = departures.of(to, sender, packet);
    if (sent === undefined) return;
    const id = `${to}/${incarnation}`;
    const lease = held.get(id) ?? { ackedNs: new Map(), waiting: false };
    held.set(id, lease);
    const acked = lease.ackedNs.get(sent.set) ?? new Map<string, number>();
    lease.ackedNs.set(sent.set, acked);
    acked.set(sender, Math.max(acked.get(sender) ?? 0, sent.atNs));
    if (endNs(lease) > 0) lookAtEnd(to, lease);
  };
  const noteAck = (controller: string, packet: Packet) => {
    const { receiver: host, incarnation } = packet;
    const id = `${host}/${incarnation}`;
    if (store.votes.get(id)?.has(controller)) {
      violated('promise-kept', `${controller} acknowledges ${id}, which it voted expired`);
    }
    const left = departures.of(host, controller, packet);
    if (left === undefined) return;
    const link = `${controller}>${id}`;
    const before = promised.get(link);
    if (before === undefined || isLater(left, before)) promised.set(link, left);
  };
  return {
    look,
    sent: (from, packet) => {
      if (packet.type === 'ack') noteAck(from, packet);
      if (packet.type !== 'heartbeat') return;
      const { clock, boots: boot } = world.host(from);
      departures.note(from, packet, { atNs: clock.nowNs(), boot, set: packet.set });
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
      const leftNs = last.atNs + leaseNs - clock.nowNs();
      if (leftNs <= 0) return;
      violated(
        'promise-kept',
        `${controller} votes ${id} expired, and its last promise has ${(leftNs / 1e6).toFixed(3)} ms to run`,
      );
    },
  };
}

/** A heartbeat that left: when by its host's own clock, and since which boot that clock ran. */
interface Departure {
  readonly atNs: number;
  readonly boot: number;
  readonly set: number;
}

function isLater(one: Departure, than: Departure): boolean {
  return one.boot > than.boot || (one.boot === than.boot && one.atNs > than.atNs);
}

class Departures {
  /** Host, start of pulse, controller → by number. */
  readonly #starts = new Map<string, Map<string, Map<string, Map<bigint, Departure>>>>();

  note(host: string, { nonce, receiver, seq }: Packet, departure: Departure): void {
    const ofHost = below(this.#starts, host);
    const times = below(below(ofHost, nonce), receiver);
    times.set(seq, departure);
    // A map keeps the order of insertion.
    const [oldest] = times.size > remembered ? times.keys() : [];
    if (oldest !== undefined) times.delete(oldest);
  }

  of(host: string, controller: string, { nonce, seq }: Packet): Departure | undefined {
    return this.#starts.get(host)?.get(nonce)?.get(controller)?.get(seq);
  }
}

function below<K, V>(outer: Map<string, Map<K, V>>, key: string): Map<K, V> {
  const found = outer.get(key);
  if (found !== undefined) return found;
  const made = new Map<K, V>();
  outer.set(key, made);
  return made;
}
