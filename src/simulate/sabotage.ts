import type { PulsePort } from '../agent/pulse-port.js';
import type { VerifiableMask } from '../storage/mask-keeper.js';
import type { Store } from '../store/types.js';
import type { SimProcess } from './process.js';

/**
 * Ways to break one rule, so that a test can show that the checks notice. All of it is done to what
 * is handed to the production code, never inside it; an honest run has none.
 */
export interface Sabotage {
  store?(store: Store, host: string): Store;
  pulse?(port: PulsePort, process: SimProcess): PulsePort;
  mask?(mask: VerifiableMask): VerifiableMask;
  /** Frames pass although the lease is over, or still at its very last instant. */
  readonly guard?: 'off' | 'late';
  /** Devices that were to be removed stay. */
  readonly devicesStay?: boolean;
  /** All incarnations of a host share one deadline. */
  readonly oneMap?: boolean;
  /** A pulse that was killed goes on beside the next one. */
  readonly oldPulseLives?: boolean;
  /** The target lets in every initiator, of whatever host and epoch. */
  readonly openTarget?: boolean;
}
