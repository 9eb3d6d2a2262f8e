/**
 * Recognizes what is on a LUN from its first bytes, before anything is attached. It only ever says
 * "this is an ext4 / XFS" or "something else or nothing"; nothing is formatted on its word alone.
 * Pure.
 */
export type Content =
  | { readonly kind: 'ext4'; readonly hasErrors: boolean }
  | { readonly kind: 'xfs' }
  | { readonly kind: 'unknown' };

/** How much of the LUN's start `recognize` needs. */
export const probeBytes = 8192;

/** fs/ext4/ext4.h: the superblock is at byte 1024; magic at 0x38, s_state at 0x3a. */
const extSuperblock = 1024;
const extMagic = 0xef53;
const extErrors = 2;
/** Feature bits that ext2 and ext3 do not have; without one of them it is no ext4. */
const incompatExtents = 0x40;

export function recognize(start: Buffer): Content {
  if (
    start.length >= extSuperblock + 0x68 &&
    start.readUInt16LE(extSuperblock + 0x38) === extMagic
  ) {
    const incompat = start.readUInt32LE(extSuperblock + 0x60);
    if ((incompat & incompatExtents) === 0) return { kind: 'unknown' };
    const state = start.readUInt16LE(extSuperblock + 0x3a);
    return { kind: 'ext4', hasErrors: (state & extErrors) !== 0 };
  }
  if (start.toString('latin1', 0, 4) === 'XFSB') return { kind: 'xfs' };
  return { kind: 'unknown' };
}

export function isZero(bytes: Buffer): boolean {
  return bytes.equals(Buffer.alloc(bytes.length));
}
