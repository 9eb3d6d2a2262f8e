import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, UnderstudyError } from '../errors.js';
import { isBpfFilesystem, mountBpfFilesystem } from '../ffi/bpf-map.js';

/** Where pins and compiled programs are. */
export interface BpfPlace {
  /** Mount point of the bpf filesystem, e.g. /sys/fs/bpf. */
  readonly bpffs: string;
  /** Mount it there when nothing is. Default false: systemd mounts /sys/fs/bpf. */
  readonly mountBpffs?: boolean;
  /** Compiled programs. Default: dist/native of this package. */
  readonly objectDirectory?: string;
}

/** The part of a logger that is used; pino's fits it. */
export interface BpfLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

/** This file is dist/src/bpf/place.js when it runs. */
const ownObjects = fileURLToPath(new URL('../../native', import.meta.url));

export function objectPath({ objectDirectory }: BpfPlace, name: string): string {
  return join(objectDirectory ?? ownObjects, `${name}.bpf.o`);
}

/**
 * The folder of our pins, or one below it; made when it is missing.
 *
 * @throws {UnderstudyError} US_BPF_FILESYSTEM
 */
export function pinFolder(place: BpfPlace, ...below: readonly string[]): string {
  const { bpffs } = place;
  try {
    if (!isBpfFilesystem(bpffs)) {
      if (place.mountBpffs !== true) throw new Error('no bpf filesystem is mounted there');
      mkdirSync(bpffs, { recursive: true });
      mountBpfFilesystem(bpffs);
    }
    const folder = join(bpffs, 'understudy', ...below);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_BPF_FILESYSTEM',
        action: 'cannot keep BPF maps in',
        object: bpffs,
        cause: messageOf(thrown),
        remedy: `mount -t bpf bpf ${bpffs}, as root, or set bpffs to where one is mounted`,
      },
      { cause: thrown },
    );
  }
}

/** A name as a pin may have it: the bpf filesystem keeps names with a dot for itself. */
export function pinName(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
