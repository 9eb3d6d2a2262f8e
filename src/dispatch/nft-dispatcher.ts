import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { filterNames } from '../bpf/attach.js';
import type { BpfLog } from '../bpf/place.js';
import type { TrafficReport } from '../control/records.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { interfaceIndex } from '../ffi/bpf-filter.js';
import { inNetworkNamespace } from '../ffi/namespace.js';
import { runNft } from './nft-command.js';
import { nftListing, nftTraffic, readNftListing } from './nft-counters.js';
import { type NftState, nftRemoval, nftScript, nftState } from './nft-script.js';
import { notDispatched } from './refusals.js';
import type { DispatchAdapter, DispatchSpec } from './types.js';

export interface NftDispatcherOptions {
  /** Folder of named network namespaces, e.g. /run/netns. */
  readonly namespaceDirectory: string;
  /** Default 'us-'. */
  readonly namespacePrefix?: string;
  /** Folder with a file for each service that has a table: gone with a boot, as the table is. */
  readonly stateDirectory: string;
  readonly log: BpfLog;
}

/** Where the agent of a host has that folder. */
export const nftNotes = (runDirectory: string) => join(runDirectory, 'nftables');

const nicName = 'eth0';
/** src/fencing/guard.ts: it is in front of the rules on their way in, and behind them on their way out. */
const guardPriority = 1;
const guardHandle = 0x7573;
const guards = ['us_guard_in', 'us_guard_out'];

/**
 * Dispatchers by nftables, for where the BPF program cannot be had: one table for each service, at ingress of the
 * service's own NIC. It has no memory of flows and knows no lease. So it is made only on a NIC with the lease's
 * guard, which the kernel asks before it (net/core/dev.c: sch_handle_ingress, then nf_ingress), and again
 * when what was sent on leaves the NIC. Tables go on when this process ends.
 */
export class NftDispatcher implements DispatchAdapter {
  readonly #options: NftDispatcherOptions;
  /** As far as this process knows; undefined for what it has not made or looked at. */
  readonly #states = new Map<string, NftState>();
  readonly #attached = new Map<string, DispatchSpec>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: NftDispatcherOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    await this.#turn;
  }

  /** nft loads nothing ahead. */
  async warm(): Promise<void> {}

  /** @throws {UnderstudyError} US_DISPATCH_SPEC, US_DISPATCH_NFT, US_DISPATCH_UNGUARDED, US_BPF_ATTACH */
  ensure(spec: DispatchSpec): Promise<void> {
    return this.#inTurn(async () => {
      const { service, namespace } = spec;
      const path = this.#namespacePath(namespace);
      refuseUnguarded(service, path);
      const wanted = nftState(spec, nicName, nicIdAt(path));
      const before = this.#states.get(service) ?? (await this.#adopt(service, path, wanted));
      this.#attached.set(service, spec);
      if (before?.mark === wanted.mark) {
        this.#states.set(service, wanted);
        return;
      }
      mkdirSync(this.#options.stateDirectory, { recursive: true, mode: 0o755 });
      writeFileSync(this.#note(service), '');
      // What stands after one that failed is not known: then all of it is made anew.
      this.#states.delete(service);
      await runNft(service, path, ['-f', '-'], nftScript(before, wanted, nicName));
      this.#states.set(service, wanted);
      this.#options.log.info({ service, members: spec.members.length }, 'dispatcher by nftables');
    });
  }

  /** Takes the table away, if its namespace is still there. Idempotent. */
  remove(service: string): Promise<void> {
    return this.#inTurn(async () => {
      this.#states.delete(service);
      this.#attached.delete(service);
      if (!this.has(service)) return;
      const path = this.#namespacePath(`svc-${service}`);
      if (existsSync(path)) await runNft(service, path, ['-f', '-'], nftRemoval);
      rmSync(this.#note(service), { force: true });
    });
  }

  /** Whether this or an earlier process made a table for it. */
  has(service: string): boolean {
    return existsSync(this.#note(service));
  }

  /** @throws {UnderstudyError} US_DISPATCH_NOT_HERE, US_DISPATCH_NFT */
  counters(service: string): Promise<TrafficReport> {
    return this.#inTurn(async () => {
      const spec = this.#attached.get(service);
      if (spec === undefined) throw notDispatched(service);
      return this.#count(spec);
    });
  }

  /** Rules remember no flow. */
  memoryEveryMs(): undefined {}

  async memory(): Promise<undefined> {}

  /** Of one that cannot be asked nothing is told. */
  allCounters(): Promise<readonly TrafficReport[]> {
    return this.#inTurn(async () => {
      const all: TrafficReport[] = [];
      for (const spec of this.#attached.values()) {
        try {
          all.push(await this.#count(spec));
        } catch (thrown) {
          const { service } = spec;
          this.#options.log.warn({ service, cause: messageOf(thrown) }, 'not counted');
        }
      }
      return all;
    });
  }

  async #count({ service, namespace, members }: DispatchSpec): Promise<TrafficReport> {
    const listing = await runNft(service, this.#namespacePath(namespace), nftListing);
    const names = members.map(({ personality }) => personality);
    return nftTraffic(service, names, readNftListing(listing).counters);
  }

  /** What an earlier process left, if that is just what is wanted. */
  async #adopt(service: string, path: string, wanted: NftState): Promise<NftState | undefined> {
    if (!this.has(service)) return undefined;
    const { chains } = readNftListing(await runNft(service, path, nftListing));
    return chains.includes(wanted.mark) ? wanted : undefined;
  }

  #note(service: string): string {
    return join(this.#options.stateDirectory, service);
  }

  #namespacePath(namespace: string): string {
    const { namespaceDirectory, namespacePrefix = 'us-' } = this.#options;
    return join(namespaceDirectory, `${namespacePrefix}${namespace}`);
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(job, job);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

/**
 * Numbers of NICs begin anew with each namespace, and its inode number may be given again: the time at which
 * the kernel made the inode, which the name pins (fs/nsfs.c), tells two of one name apart.
 */
function nicIdAt(namespacePath: string): string {
  const { ino, ctimeNs } = statSync(namespacePath, { bigint: true });
  const index = inNetworkNamespace(namespacePath, () => interfaceIndex(nicName));
  return [ino, ctimeNs, index].join(' ');
}

/** Rules alone would answer on when the lease is over. */
function refuseUnguarded(service: string, namespacePath: string): void {
  const at = { namespacePath, interfaceName: nicName };
  const own = { priority: guardPriority, handle: guardHandle };
  const there = filterNames([
    { ...at, ...own, hook: 'ingress' },
    { ...at, ...own, hook: 'egress' },
  ]);
  if (guards.every((name, index) => there[index] === name)) return;
  throw new UnderstudyError({
    code: 'US_DISPATCH_UNGUARDED',
    action: 'cannot dispatch by nftables service',
    object: service,
    cause: `${nicName} in ${namespacePath} has no guard that ends with this host’s lease`,
    remedy:
      'a kernel that takes no BPF program at all cannot dispatch; understudy doctor tells why',
  });
}
