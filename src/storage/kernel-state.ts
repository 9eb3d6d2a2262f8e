import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type Layout, readStateAs, type VolumeId } from './state.js';
import { type AttachedVolume, type AttachSpec, initiatorName } from './types.js';

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
  /** Null until it has arrived. */
  disk: z.object({ session: z.string(), name: z.string(), number: z.string() }).nullable(),
  serial: z.string(),
  sizeBytes: z.number(),
});

export type KernelState = z.infer<typeof schema>;

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
