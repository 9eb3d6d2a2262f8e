import { UnderstudyError } from '../errors.js';
import { lunNotFound } from './iscsi-failures.js';
import type { IscsiSession } from './iscsi-session.js';
import type { Designator } from './scsi.js';
import type { AttachSpec } from './types.js';

/** Whether a LUN is the one that is meant. Reads no block of it. */

/** @throws {UnderstudyError} US_STORAGE_LUN_NOT_FOUND */
export async function assertDisk(
  session: IscsiSession,
  { target, targetLun: lun }: AttachSpec,
  signal: AbortSignal,
): Promise<void> {
  const [luns, inquiry] = await Promise.all([session.luns(signal), session.inquiry(lun, signal)]);
  if (!luns.includes(lun) || inquiry.qualifier !== 0 || inquiry.deviceType !== 0) {
    throw lunNotFound(target, lun, session.portal, luns);
  }
}

/** @throws {UnderstudyError} US_STORAGE_IDENTITY */
export async function assertIdentity(
  session: IscsiSession,
  spec: AttachSpec,
  signal: AbortSignal,
): Promise<string> {
  const serial = await serialOf(session, spec.targetLun, signal);
  checkSerial(spec, serial);
  return serial;
}

/** The unit serial number, else the world-wide name: what stays with a LUN wherever it is mapped. */
async function serialOf(session: IscsiSession, lun: number, signal: AbortSignal): Promise<string> {
  const serial = await session.serial(lun, signal);
  return serial !== '' ? serial : nameAmong(await session.designators(lun, signal));
}

/** Pure. '' for none. */
export function nameAmong(designators: readonly Designator[]): string {
  const ranked = ['naa', 'eui', 'name', 'vendor'] as const;
  const found = ranked
    .map((type) => designators.find((designator) => designator.type === type))
    .find((designator) => designator !== undefined);
  return found?.value ?? '';
}

/** @throws {UnderstudyError} US_STORAGE_IDENTITY */
export function checkSerial(spec: AttachSpec, serial: string): void {
  if (serial === '') {
    throw identityError(spec, 'it has neither a serial number (VPD 0x80) nor a name (VPD 0x83)', [
      'give the LUN a serial on the target',
      '(tgtadm --mode logicalunit --op update --params scsi_sn=…)',
    ]);
  }
  if (spec.recordedSerial === undefined || spec.recordedSerial === serial) return;
  throw identityError(spec, `it has serial ${serial}, recorded is ${spec.recordedSerial}`, [
    'check the map on the target; if the LUN was replaced on purpose, give the volume a new name',
    'in the cluster file and apply it',
  ]);
}

export function identityError(
  spec: AttachSpec,
  cause: string,
  remedy: readonly string[],
): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_IDENTITY',
    action: 'cannot attach volume',
    object: `${spec.volume} to ${spec.personality} on ${spec.host}`,
    cause: `LUN ${spec.targetLun} of ${spec.target}: ${cause}`,
    remedy: remedy.join(' '),
  });
}
