/**
 * Recognizes what is on a LUN from its first bytes, before anything is attached. It only ever says
 * "this is an ext4 / XFS" or "something else or nothing"; nothing is formatted on its word alone.
 * Pure.
 */
export type Content =
  | {
      readonly kind: 'ext4';
      readonly hasErrors: boolean;
      readonly sizeBytes: number;
      /** Its journal holds what a mount has to write first. */
      readonly needsRecovery: boolean;
    }
  | { readonly kind: 'xfs'; readonly sizeBytes: number }
  | { readonly kind: 'unknown' };

/** How much of the LUN's start `recognize` needs. */
export const probeBytes = 8192;

/** fs/ext4/ext4.h: the superblock is at byte 1024; magic at 0x38, s_state at 0x3a. */
const extSuperblock = 1024;
const extMagic = 0xef53;
const extErrors = 2;
/** Feature bits that ext2 and ext3 do not have; without one of them it is no ext4. */
const incompatExtents = 0x40;
const incompatRecover = 4;
const incompat64Bit = 0x80;

export function recognize(start: Buffer): Content {
  if (
    start.length >= extSuperblock + 0x154 &&
    start.readUInt16LE(extSuperblock + 0x38) === extMagic
  ) {
    return recognizeExt(start.subarray(extSuperblock));
  }
  if (start.length >= 16 && start.toString('latin1', 0, 4) === 'XFSB') {
    // fs/xfs/libxfs/xfs_format.h: sb_blocksize, sb_dblocks.
    return { kind: 'xfs', sizeBytes: start.readUInt32BE(4) * Number(start.readBigUInt64BE(8)) };
  }
  return { kind: 'unknown' };
}

function recognizeExt(superblock: Buffer): Content {
  const incompat = superblock.readUInt32LE(0x60);
  if ((incompat & incompatExtents) === 0) return { kind: 'unknown' };
  // s_blocks_count_lo and _hi, s_log_block_size.
  const high = (incompat & incompat64Bit) === 0 ? 0 : superblock.readUInt32LE(0x150);
  const blocks = superblock.readUInt32LE(4) + high * 2 ** 32;
  return {
    kind: 'ext4',
    hasErrors: (superblock.readUInt16LE(0x3a) & extErrors) !== 0,
    sizeBytes: blocks * 1024 * 2 ** superblock.readUInt32LE(0x18),
    needsRecovery: (incompat & incompatRecover) !== 0,
  };
}

export function isZero(bytes: Buffer): boolean {
  return bytes.equals(Buffer.alloc(bytes.length));
}
