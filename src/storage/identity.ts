import { messageOf } from '../errors.js';
import type { ChapCredentials } from './chap.js';
import { IscsiSession, type SessionLimits } from './iscsi-session.js';
import { assertDisk, assertIdentity } from './lun-identity.js';
import { assertReserved } from './reservation-fence.js';
import { assertUnreserved } from './reservation-refusals.js';
import { type Content, isZero, probeBytes, recognize } from './superblock.js';
import { type AttachSpec, initiatorName } from './types.js';

/** What libiscsi was told about the LUN, before anything is attached. */
export interface LunIdentity {
  /** The portal that answered: the data path uses it. */
  readonly portal: string;
  readonly serial: string;
  readonly sizeBytes: number;
  readonly blockSizeBytes: number;
  readonly content: Content;
  /** First and last MiB hold only zeros. Looked at only where that may matter. */
  readonly blank: boolean;
}

const mebibyte = 1024 * 1024;

/**
 * Asks the target: is the LUN there, is it a disk, is it the one recorded, how large is it, what
 * is on it. Reads the volume: call it only after the fence.
 *
 * @param standing sees that no reservation is in this owner's way
 * @throws {UnderstudyError} US_STORAGE_UNREACHABLE, US_STORAGE_TARGET_NOT_FOUND, US_STORAGE_CHAP,
 * US_STORAGE_TARGET_FULL, US_STORAGE_LOGIN, US_STORAGE_LUN_NOT_FOUND, US_STORAGE_IDENTITY, US_STORAGE_COMMAND, US_STORAGE_RESERVED
 */
export async function identify(
  spec: AttachSpec,
  signal: AbortSignal,
  limits?: SessionLimits,
  chap?: ChapCredentials,
  standing = spec.fence === 'reservation' ? assertReserved : assertUnreserved,
): Promise<LunIdentity> {
  const initiator = initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch);
  const session = await IscsiSession.login(
    spec.portals,
    spec.target,
    initiator,
    signal,
    limits,
    chap,
  );
  try {
    const lun = spec.targetLun;
    await assertDisk(session, spec, signal);
    const [serial, { blocks, blockSizeBytes }] = await Promise.all([
      assertIdentity(session, spec, signal),
      session.capacity(lun, signal),
      session.testUnitReady(lun, signal),
    ]);
    await standing(session, spec, signal);
    const sizeBytes = Number(blocks) * blockSizeBytes;
    const read = (from: number, length: number) =>
      session.read(lun, BigInt(from / blockSizeBytes), length, blockSizeBytes, signal);
    const content = recognize(await read(0, Math.min(probeBytes, sizeBytes)));
    const piece = Math.min(mebibyte, sizeBytes);
    const blank =
      content.kind === 'unknown' &&
      spec.format === 'if-blank' &&
      isZero(await read(0, piece)) &&
      isZero(await read(sizeBytes - piece, piece));
    return { portal: session.portal, serial, sizeBytes, blockSizeBytes, content, blank };
  } finally {
    // It never fails, and nobody need wait for the answer.
    void session.close();
  }
}

/**
 * Why the target takes no write, in its words; undefined when it does. Writes zeros over the last
 * MiB: only for a LUN that was blank and has just been begun to be formatted.
 */
export async function refusesWrites(
  spec: AttachSpec,
  lun: LunIdentity,
  signal: AbortSignal,
  limits?: SessionLimits,
  chap?: ChapCredentials,
): Promise<string | undefined> {
  const { sizeBytes, blockSizeBytes } = lun;
  const initiator = initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch);
  const session = await IscsiSession.login(
    [lun.portal],
    spec.target,
    initiator,
    signal,
    limits,
    chap,
  );
  try {
    const piece = Buffer.alloc(Math.min(mebibyte, sizeBytes));
    const from = BigInt((sizeBytes - piece.length) / blockSizeBytes);
    await session.write(spec.targetLun, from, piece, blockSizeBytes, signal);
    return undefined;
  } catch (thrown) {
    signal.throwIfAborted();
    return messageOf(thrown);
  } finally {
    void session.close();
  }
}
