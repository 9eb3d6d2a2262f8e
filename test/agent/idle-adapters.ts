import type { TrafficReport } from '../../src/control/records.js';
import type { DispatchAdapter } from '../../src/dispatch/types.js';
import type { NetworkAdapter, ObservedNamespace } from '../../src/network/types.js';
import type {
  AttachedVolume,
  AttachSpec,
  Reserved,
  StorageAdapter,
} from '../../src/storage/types.js';
import type {
  ObservedWorkload,
  WorkloadAdapter,
  WorkloadFailures,
} from '../../src/workload/types.js';

/** Adapters of a host on which nothing is; each call succeeds. Tests override what they look at. */

export class IdleNetwork implements NetworkAdapter {
  async start() {}
  async stop() {}
  async ensureNetwork() {}
  async removeNetwork(_name: string) {}
  async setPeers() {}
  async ensureNamespace() {}
  async raise() {}
  async silence(_name: string) {}
  async removeNamespace(_name: string) {}
  async discardWaiting() {}
  async observe(): Promise<readonly ObservedNamespace[]> {
    return [];
  }
  async observeNetworks(): Promise<readonly string[]> {
    return [];
  }
  async announce() {}
  async probe(_from: string, _network: string, address: string) {
    return { address, mac: undefined as string | undefined };
  }
}

export class IdleStorage implements StorageAdapter {
  async start() {}
  async stop() {}
  async warm() {}
  async fence(_spec: AttachSpec, _signal?: AbortSignal): Promise<Reserved> {
    throw new Error('there is no volume here');
  }
  async attach(_spec: AttachSpec): Promise<AttachedVolume> {
    throw new Error('there is no volume here');
  }
  async flush() {}
  async detach() {}
  async abort() {}
  async observe(): Promise<readonly AttachedVolume[]> {
    return [];
  }
}

export class IdleWorkload implements WorkloadAdapter {
  async start() {}
  async stop() {}
  async prepare() {}
  async ensure() {}
  async remove(_personality: string) {}
  async abort() {}
  failures(_personality: string): WorkloadFailures | undefined {
    return undefined;
  }
  onFailure(): void {}
  async observe(): Promise<readonly ObservedWorkload[]> {
    return [];
  }
}

export class IdleDispatch implements DispatchAdapter {
  memoryEveryMs(): undefined {}
  async memory(): Promise<undefined> {}
  async start() {}
  async stop() {}
  async warm() {}
  async ensure() {}
  async remove() {}
  async counters(): Promise<TrafficReport> {
    throw new Error('nothing is dispatched here');
  }
  async allCounters() {
    return [];
  }
}
