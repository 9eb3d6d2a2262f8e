import type { Inherited } from '../dispatch/memory.js';
import type { DispatchAdapter } from '../dispatch/types.js';
import type { NetworkAdapter } from '../network/types.js';
import type { StorageAdapter } from '../storage/types.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import type { WorkloadAdapter } from '../workload/types.js';
import type { Announcer } from './announcer.js';
import type { Clock } from './clock.js';
import type { ClusterWatch } from './cluster-watch.js';
import type { Deliveries } from './deliveries.js';
import type { Forwarding } from './forwarding.js';
import type { Hurry } from './hurry.js';
import type { Journal } from './journal.js';
import type { Log } from './loop.js';

/** What taking and releasing roles needs, handed in once. */
export interface RoleParts {
  readonly host: string;
  /** NIC of the host's own namespace that its networks stand on. */
  readonly underlayInterface: string;
  readonly bootId: string;
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly clock: Clock;
  readonly deliveries: Pick<Deliveries, 'heardMs'>;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
  readonly network: NetworkAdapter;
  readonly storage: StorageAdapter;
  readonly workload: WorkloadAdapter;
  readonly dispatch: DispatchAdapter;
  readonly forwarding: Forwarding;
  readonly announcer: Announcer;
  /** What dispatchers hand on to the next one. */
  readonly memory: {
    inherited(service: string, epoch: number): Inherited | undefined;
    flush(signal: AbortSignal): Promise<void>;
  };
  readonly hurry: Pick<Hurry, 'begin'>;
  /** Path of the network namespace `us-<name>`. */
  namespacePath(name: string): string;
  /** Where storage mounts a volume on the host. */
  hostMount(personality: string, lun: number): string;
  /** Resolves when the condition holds, looked at after each change of the store; or rejects. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void>;
}
