import type { ClusterConfig } from '../config/types.js';
import { initiatorName, type MaskOrder } from './types.js';

/** The part of an assignment that a mask depends on. */
export interface MaskAssignment {
  readonly host: string | null;
  readonly epoch: number;
  /** Of a planned move. */
  readonly move?: number;
}

/** A mask order and, for the record, whose host it lets in. */
export interface OwnedMaskOrder extends MaskOrder {
  readonly personality: string;
  readonly generation: number;
  readonly host: string | null;
  /** A planned move that the record answers to: the mask stays as it is. */
  readonly move?: number;
  /** The target left the configuration: once it is closed, its epochs are forgotten. */
  readonly retired?: boolean;
}

/**
 * Who may log in to each target of the configuration. Pure.
 *
 * A draining personality keeps its mask until its assignment moves: its host still writes back. One
 * that is unplaced, or was never placed, lets in nobody; so does a volume that no personality has.
 * Targets that two personalities share are left out (see `sharedTargets`): tgt's list is by
 * target, so either owner would see the other's LUNs. So are those that reservations fence.
 */
export function maskOrders(
  config: ClusterConfig,
  assignments: ReadonlyMap<string, MaskAssignment>,
  generation = 0,
): readonly OwnedMaskOrder[] {
  const shared = sharedTargets(config);
  const reserved = new Set(
    config.volumes.filter(({ fence }) => fence === 'reservation').map(({ target }) => target),
  );
  return [...ownersOf(config)]
    .filter(([target]) => !shared.has(target) && !reserved.has(target))
    .map(([target, [personality = '']]) => {
      const assignment = assignments.get(personality);
      const host = assignment?.host ?? null;
      const epoch = assignment?.epoch ?? 0;
      const initiator =
        host === null ? undefined : initiatorName(config.cluster, personality, host, epoch);
      const move = assignment?.move === undefined ? {} : { move: assignment.move };
      const luns = lunsOf(config, target, personality);
      return { target, luns, personality, generation, epoch, host, initiator, ...move };
    });
}

/** Targets with LUNs of more than one personality, and of which. */
export function sharedTargets(config: ClusterConfig): ReadonlyMap<string, readonly string[]> {
  return new Map([...ownersOf(config)].filter(([, personalities]) => personalities.length > 1));
}

/** Of a target, those that a personality has. */
function lunsOf(config: ClusterConfig, target: string, personality: string): readonly number[] {
  const { storage = [] } = config.personalities.find(({ name }) => name === personality) ?? {};
  return config.volumes
    .filter((one) => one.target === target && storage.some(({ volume }) => volume === one.name))
    .map(({ lun }) => lun)
    .sort((a, b) => a - b);
}

function ownersOf(config: ClusterConfig): ReadonlyMap<string, readonly string[]> {
  const owners = new Map<string, string[]>();
  for (const volume of config.volumes) {
    const found = owners.get(volume.target) ?? [];
    owners.set(volume.target, found);
    for (const { name, storage } of config.personalities) {
      const has = storage.some((entry) => entry.volume === volume.name);
      if (has && !found.includes(name)) found.push(name);
    }
  }
  return owners;
}
