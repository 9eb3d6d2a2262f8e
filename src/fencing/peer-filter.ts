import { join } from 'node:path';
import ipaddr from 'ipaddr.js';
import { ensureFilter, type FilterSpot, removeFilter } from '../bpf/attach.js';
import { type BpfLog, type BpfPlace, pinFolder, pinName } from '../bpf/place.js';
import { keyOf32, loadOnPins, type PinnedMap, sumPerCpu, unpin } from '../bpf/programs.js';
import { messageOf, UnderstudyError } from '../errors.js';
import type { LoadedObject } from '../ffi/bpf.js';
import { deleteElement, keysOf, type MapShape, mapType, updateElement } from '../ffi/bpf-map.js';
import type { PeerFilter } from '../network/types.js';
import { Departures } from './departures.js';

export interface BpfPeerFilterOptions extends BpfPlace {
  readonly cluster: string;
  /** NIC that the VXLAN frames come in by. */
  readonly underlayInterface: string;
  /** Namespace that NIC is in. Default: that of this process. */
  readonly hostNamespacePath?: string;
  readonly log: BpfLog;
}

export interface PeerFilterCounters {
  readonly letIn: number;
  readonly droppedPeer: number;
  readonly droppedFragment: number;
  readonly droppedTooDeep: number;
}

/** In front of what others may have there: a filter that accepts a frame ends the walk. */
const priority = 1;
const programName = 'us_peers';
/** native/peers.bpf.c. */
const shapes = {
  peer_networks: { type: mapType.hash, keyBytes: 4, valueBytes: 1, maxEntries: 4096 },
  peer_sources: { type: mapType.hash, keyBytes: 20, valueBytes: 1, maxEntries: 16_384 },
  peer_counters: { type: mapType.perCpuArray, keyBytes: 4, valueBytes: 8, maxEntries: 4 },
} as const satisfies Record<string, MapShape>;
const present = Buffer.from([1]);

interface Loaded {
  readonly object: LoadedObject;
  /** Keys in peer_sources by VNI, as hex. */
  readonly sources: Map<number, Set<string>>;
}

/**
 * Lets VXLAN frames of our networks in only from hosts that belong to them: a vxlan device takes
 * them from anybody, also from a failed host that woke up. Everything else on the NIC goes on to
 * whatever filters others have there, and nothing of theirs is touched.
 */
export class BpfPeerFilter implements PeerFilter {
  readonly #options: BpfPeerFilterOptions;
  readonly #departures: Departures;
  #loaded: Loaded | undefined;

  constructor(options: BpfPeerFilterOptions) {
    this.#options = options;
    this.#departures = new Departures(options, { ...this.#spot, hook: 'egress' });
  }

  /**
   * @throws {UnderstudyError} US_BPF_FILESYSTEM, US_BPF_LOAD, US_BPF_ATTACH, US_BPF_TAKEN,
   *   US_PEER_FILTER when an entry is refused (then fewer may be let in than are allowed, never more)
   */
  set(vni: number, allowed: readonly string[] | undefined): void {
    const { object, sources } = this.#ready();
    const networks = object.map('peer_networks');
    const peers = object.map('peer_sources');
    const before = sources.get(vni) ?? new Set<string>();
    const after = new Set((allowed ?? []).map((address) => peerKey(vni, address).toString('hex')));
    try {
      if (allowed === undefined) deleteElement(networks, keyOf32(vni));
      // Who is shut out goes first, then the network is closed, and only then is anybody let in.
      for (const key of before) {
        if (after.has(key)) continue;
        deleteElement(peers, Buffer.from(key, 'hex'));
        before.delete(key);
      }
      if (allowed !== undefined) updateElement(networks, keyOf32(vni), present);
      sources.set(vni, before);
      for (const key of after) {
        if (before.has(key)) continue;
        updateElement(peers, Buffer.from(key, 'hex'), present);
        before.add(key);
      }
      if (allowed === undefined) sources.delete(vni);
    } catch (thrown) {
      throw new UnderstudyError(
        {
          code: 'US_PEER_FILTER',
          action: 'cannot set the peers of VXLAN network',
          object: String(vni),
          cause: messageOf(thrown),
          remedy: `at most ${shapes.peer_networks.maxEntries} networks and ${shapes.peer_sources.maxEntries} hosts on them fit; it is tried again`,
        },
        { cause: thrown },
      );
    }
  }

  /** @throws {UnderstudyError} US_GUARD_NO_LEASE, US_BPF_LOAD, US_BPF_ATTACH, US_BPF_TAKEN */
  hold(incarnation: number): void {
    this.#departures.hold(incarnation, this.#ready().object.map('peer_networks'));
  }

  release(): void {
    this.#departures.release();
  }

  counters(): PeerFilterCounters {
    const fd = this.#ready().object.map('peer_counters');
    const [letIn = 0, droppedPeer = 0, droppedFragment = 0, droppedTooDeep = 0] = [0, 1, 2, 3].map(
      (slot) => Number(sumPerCpu(fd, slot, 1)[0]),
    );
    return { letIn, droppedPeer, droppedFragment, droppedTooDeep };
  }

  /** Lets go of descriptors; the filter stays. */
  close(): void {
    this.#departures.close();
    this.#loaded?.object.close();
    this.#loaded = undefined;
  }

  /** Takes the filters off the NIC, and their pins away. */
  remove(): void {
    this.#departures.release();
    removeFilter(this.#spot, programName);
    this.close();
    for (const { path } of this.#pinned()) unpin(path);
  }

  /** Loaded, and on the NIC: also when that was replaced meanwhile. */
  #ready(): Loaded {
    const loaded = this.#loaded ?? this.#load();
    this.#loaded = loaded;
    const done = ensureFilter(this.#spot, loaded.object.program(programName));
    const { log, underlayInterface } = this.#options;
    if (done === 'attached') log.info({ underlayInterface }, 'peer filter attached');
    return loaded;
  }

  #load(): Loaded {
    const { object } = loadOnPins(this.#options, 'peers', this.#pinned());
    const sources = new Map<number, Set<string>>();
    for (const key of keysOf(object.map('peer_sources'), shapes.peer_sources)) {
      const vni = key.readUInt32LE(0);
      const keys = sources.get(vni) ?? new Set();
      sources.set(vni, keys.add(key.toString('hex')));
    }
    return { object, sources };
  }

  #pinned(): readonly PinnedMap[] {
    const folder = pinFolder(this.#options, `peers-${pinName(this.#options.cluster)}`);
    return Object.entries(shapes).map(([name, shape]) => ({
      name,
      path: join(folder, name),
      shape,
    }));
  }

  get #spot(): FilterSpot {
    const { hostNamespacePath: namespacePath, underlayInterface, cluster } = this.#options;
    const handle = handleOf(cluster);
    return { namespacePath, interfaceName: underlayInterface, hook: 'ingress', priority, handle };
  }
}

/** `struct peer`: VNI in host order, address with IPv4 as ::ffff:a.b.c.d. */
function peerKey(vni: number, text: string): Buffer {
  const address = ipaddr.parse(text);
  const mapped = address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address;
  return Buffer.concat([keyOf32(vni), Buffer.from(mapped.toByteArray())]);
}

/** Its own for each cluster on the machine (FNV-1a), never 0. */
function handleOf(cluster: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(cluster)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash === 0 ? 1 : hash;
}
