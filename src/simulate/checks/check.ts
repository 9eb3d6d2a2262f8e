import type { Packet } from '../../pulse/packet.js';
import type { StoredChange, World } from '../world.js';
import type { SeenRole } from './roles.js';
import type { StoreModel } from './store-model.js';

/** The rule that was broken. */
export type Invariant =
  | 'one-owner'
  | 'one-writer'
  | 'epoch-forward'
  | 'retired-for-good'
  | 'within-lease'
  | 'promise-kept'
  | 'quorum'
  | 'undisturbed'
  | 'live';

export interface Violation {
  readonly invariant: Invariant;
  readonly atMs: number;
  readonly text: string;
}

export interface CheckParts {
  readonly world: World;
  readonly roles: readonly SeenRole[];
  /** As it was before the change that `stored` tells of. */
  readonly store: StoreModel;
  violated(invariant: Invariant, text: string): void;
}

/** One invariant or some that belong together. Every part is optional. */
export interface Check {
  stored?(change: StoredChange): void;
  sent?(from: string, packet: Packet): void;
  arrived?(to: string, packet: Packet): void;
  read?(target: string, host: string, epoch: number): void;
  /** Something that can be seen from outside may have changed. */
  look?(): void;
}
