import type { FactKind, FactState } from './facts.js';

/** `plan --json`. */
export interface Plan {
  readonly cluster: string;
  /** Generation of the definition now (0: none) and after `apply`. */
  readonly generation: { readonly from: number; readonly to: number };
  readonly changes: boolean;
  readonly operations: readonly Operation[];
  readonly services: readonly ServiceShift[];
  /** What would not work, or would hurt. */
  readonly warnings: readonly string[];
}

export interface Operation {
  /** A host, `store`, or `target`: the daemon beside the iSCSI target that has this volume. */
  readonly at: string;
  readonly kind: FactKind | 'store';
  readonly action: 'add' | 'change' | 'remove' | 'put' | 'delete';
  readonly object: string;
  /** How it will be; of what is removed, how it was. */
  readonly state: FactState;
  readonly text: string;
  readonly why: string;
}

/** Slots of a dispatcher's table that go to another member. */
export interface ServiceShift {
  readonly service: string;
  readonly change: 'new' | 'changed' | 'removed';
  readonly slotsMoved: number;
  readonly slots: number;
  /** null: dispatchers count flows that begin, not those that live. */
  readonly liveFlows: null;
}
