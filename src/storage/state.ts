import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { z } from 'zod';
import { UnderstudyError } from '../errors.js';

/**
 * What an agent must know of a volume that an earlier agent attached. In /run: it ends with the
 * boot, as all it speaks of does. Written before each thing is made, so that a half-done attach
 * can be undone.
 */
const schema = z.object({
  version: z.literal(1),
  stage: z.enum(['attaching', 'attached']),
  personality: z.string(),
  lun: z.number().int(),
  volume: z.string(),
  epoch: z.number().int(),
  target: z.string(),
  targetLun: z.number().int(),
  initiator: z.string(),
  hostMount: z.string(),
  process: z.object({ pid: z.number().int(), startTicks: z.string() }),
  portal: z.string(),
  loopIndex: z.number().int().nullable(),
  serial: z.string(),
  sizeBytes: z.number(),
  /** Keeps the device of a volume without a file system; null where a mount does. */
  holder: z.object({ pid: z.number().int(), startTicks: z.string() }).nullable().default(null),
});

export type VolumeState = z.infer<typeof schema>;

export interface VolumeId {
  readonly personality: string;
  readonly lun: number;
}

/** Everything of ours below the run directory. */
export class Layout {
  readonly #runDirectory: string;

  constructor(runDirectory: string) {
    this.#runDirectory = runDirectory;
  }

  get disks(): string {
    return `${this.#runDirectory}/blk`;
  }

  directory({ personality, lun }: VolumeId): string {
    return `${this.disks}/${personality}/${lun}`;
  }

  /** The disk process's export is mounted on this file. */
  exportFile(id: VolumeId): string {
    return `${this.directory(id)}/lun.img`;
  }

  hostMount({ personality, lun }: VolumeId): string {
    return `${this.#runDirectory}/${personality}/${lun}`;
  }

  /** A disk process without a disk, kept ready. */
  idle(token: string): string {
    return `${this.disks}/.idle-${token}`;
  }

  /** What iscsiadm sees as /etc/iscsi and /var/lib/iscsi. */
  records(id: VolumeId): string {
    return `${this.directory(id)}/iscsi`;
  }

  /** The same for a session that belongs to no volume. */
  get orphans(): string {
    return `${this.disks}/.iscsi`;
  }

  stateFile(id: VolumeId): string {
    return `${this.directory(id)}/state.json`;
  }
}

/** Names become parts of paths: nothing but labels, and none that collides with our own folder. */
export function assertVolumeId({ personality, lun }: VolumeId): void {
  const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(personality);
  if (label && personality !== 'blk' && Number.isInteger(lun) && lun >= 0) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_NAME',
    action: 'cannot keep volumes of',
    object: `${personality}, LUN ${lun}`,
    cause: 'a personality is named by an RFC 1123 label other than "blk", a LUN by a number',
    remedy: 'rename it in the cluster file',
  });
}

/** At once: it is in memory (/run), and a takeover waits for it. */
export function writeState<T extends VolumeId>(layout: Layout, state: T): void {
  const file = layout.stateFile(state);
  mkdirSync(layout.directory(state), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Undefined when there is none, or none that can be understood (then only the folder is left to clear). */
export async function readState(layout: Layout, id: VolumeId): Promise<VolumeState | undefined> {
  return readStateAs(schema, layout, id);
}

export async function readStateAs<T>(
  shape: z.ZodType<T>,
  layout: Layout,
  id: VolumeId,
): Promise<T | undefined> {
  const text = await readFile(layout.stateFile(id), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return shape.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export async function removeState(layout: Layout, id: VolumeId): Promise<void> {
  await rm(layout.directory(id), { recursive: true, force: true });
}

/** Every volume that has a folder here. */
export async function listVolumes(layout: Layout): Promise<readonly VolumeId[]> {
  const found: VolumeId[] = [];
  for (const personality of await names(layout.disks)) {
    if (personality.startsWith('.')) continue;
    for (const lun of await names(`${layout.disks}/${personality}`)) {
      if (/^\d+$/.test(lun)) found.push({ personality, lun: Number(lun) });
    }
  }
  return found;
}

/** Tokens of the disk processes without a disk. */
export async function listIdle(layout: Layout): Promise<readonly string[]> {
  return (await names(layout.disks))
    .filter((name) => name.startsWith('.idle-'))
    .map((name) => name.slice(6));
}

async function names(directory: string): Promise<readonly string[]> {
  return readdir(directory).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR') return [];
    throw thrown;
  });
}

const raw = z.object({ backend: z.enum(['user', 'kernel']).default('user') });

/** Backends by which volumes are attached here. */
export async function backendsInUse(layout: Layout): Promise<ReadonlySet<'user' | 'kernel'>> {
  const states = await Promise.all(
    (await listVolumes(layout)).map((id) => readStateAs(raw, layout, id)),
  );
  return new Set(states.flatMap((state) => (state === undefined ? [] : [state.backend])));
}

/**
 * What one backend attached the other can neither see nor take down.
 *
 * @throws {UnderstudyError} US_STORAGE_BACKEND
 */
export async function refuseOtherBackend(
  layout: Layout,
  backend: 'user' | 'kernel',
): Promise<void> {
  const others = [...(await backendsInUse(layout))].filter((other) => other !== backend);
  if (others.length === 0) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_BACKEND',
    action: 'cannot use storage backend',
    object: backend,
    cause: `volumes are attached here by backend ${others.join(', ')}`,
    remedy: `set storageBackend back, drain the host, then change it`,
  });
}
