import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type Layout, readStateAs, type VolumeId } from './state.js';
import { type AttachedVolume, type AttachSpec, initiatorName } from './types.js';

/** `session` is empty for a map. */
const place = z.object({ session: z.string(), name: z.string(), number: z.string() });

/** What is known of a volume that the kernel's own initiator carries; in /run, as state.ts has it. */
const schema = z.object({
  version: z.literal(1),
  backend: z.literal('kernel'),
  /** fenced: its session holds the reservation, and nothing is mounted yet. */
  stage: z.enum(['attaching', 'fenced', 'attached']),
  personality: z.string(),
  lun: z.number().int(),
  volume: z.string(),
  epoch: z.number().int(),
  target: z.string(),
  targetLun: z.number().int(),
  initiator: z.string(),
  hostMount: z.string(),
  portal: z.string(),
  kind: z.enum(['file system', 'device']),
  /** What is mounted: the one disk, or the map that joins several. Null until it has arrived. */
  disk: place.nullable(),
  /** Whether a map joins its paths, of which there may be one. */
  joined: z.boolean().default(false),
  /** Each a session and the disk that it brought; none until they have arrived. */
  paths: z.array(place).default([]),
  /** How often the target told the owner's key when all paths had registered; 0 for a single path. */
  registrations: z.number().default(0),
  serial: z.string(),
  sizeBytes: z.number(),
});

export type KernelState = z.infer<typeof schema>;

/** Until they are joined, the first is the disk. */
export function withPaths(
  state: KernelState,
  disks: readonly { readonly session: string; readonly name: string; readonly number: string }[],
): KernelState {
  const paths = disks.map(({ session, name, number }) => ({ session, name, number }));
  return { ...state, paths, disk: paths[0] ?? null };
}

/** An agent before there were maps wrote down the one disk alone. */
export function pathsOf({ paths, disk }: KernelState): KernelState['paths'] {
  return paths.length > 0 || disk === null || disk.session === '' ? paths : [disk];
}

export function readKernelState(layout: Layout, id: VolumeId): Promise<KernelState | undefined> {
  return readStateAs(schema, layout, id);
}

export function newKernelState(
  layout: Layout,
  spec: AttachSpec,
  lun: { readonly portal: string; readonly serial: string; readonly sizeBytes: number },
): KernelState {
  return {
    version: 1,
    backend: 'kernel',
    stage: 'attaching',
    personality: spec.personality,
    lun: spec.lun,
    volume: spec.volume,
    epoch: spec.epoch,
    target: spec.target,
    targetLun: spec.targetLun,
    initiator: initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch),
    hostMount: layout.hostMount(spec),
    portal: lun.portal,
    kind: spec.filesystem === 'none' ? 'device' : 'file system',
    disk: null,
    joined: false,
    paths: [],
    registrations: 0,
    serial: lun.serial,
    sizeBytes: lun.sizeBytes,
  };
}

export function attachedByKernel(state: KernelState): AttachedVolume {
  const { personality, lun, volume, epoch, hostMount, serial, sizeBytes } = state;
  const device = `/dev/${state.disk?.name ?? ''}`;
  return { personality, lun, volume, epoch, device, hostMount, serial, sizeBytes };
}

/**
 * What every interface record of ours begins with: our tag, which each session in the kernel carries.
 * Made of the run directory, so that two agents of one kernel never touch each other's sessions.
 */
export function interfacePrefix(layout: Layout): string {
  return `us-${createHash('sha256').update(layout.disks).digest('hex').slice(0, 8)}-`;
}

/** One a volume. At most 64 characters (ISCSI_MAX_IFACE_LEN): a personality's name has at most 40. */
export function interfaceName(layout: Layout, { personality, lun }: VolumeId): string {
  return `${interfacePrefix(layout)}${personality}-${lun}`;
}
