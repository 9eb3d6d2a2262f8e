import { open } from 'node:fs/promises';
import { within } from '../deadline.js';
import { messageOf } from '../errors.js';
import { UeventWatch } from '../ffi/uevents.js';
import type { ChapCredentials } from './chap.js';
import { initiatorError, type LoginRecord, logIn, writeRecords } from './iscsiadm.js';
import {
  diskBytes,
  diskSerial,
  disksOf,
  hasIscsi,
  type KernelDisk,
  kernelSessions,
  scanLun,
  sessionsOf,
} from './kernel-sessions.js';
import { interfaceName } from './kernel-state.js';
import { checkSerial, identityError } from './lun-identity.js';
import { elsewhere } from './same-lun.js';
import type { Layout } from './state.js';
import { type AttachSpec, initiatorName, isOwnName } from './types.js';

/** From a LUN that was looked at to a disk of this kernel, and to no other disk. */

const arrivalMs = 5_000;

/** What the target said of the LUN when it was asked. */
interface Expected {
  readonly portals: readonly string[];
  readonly serial: string;
  readonly sizeBytes: number;
}

/**
 * Logs in and has the kernel look for the one LUN. What arrives has to be what was looked at.
 *
 * @throws {UnderstudyError} US_STORAGE_INITIATOR, US_STORAGE_IDENTITY, US_STORAGE_ELSEWHERE
 */
export async function connect(
  layout: Layout,
  spec: AttachSpec,
  expected: Expected,
  chap: ChapCredentials | undefined,
  signal: AbortSignal,
): Promise<readonly KernelDisk[]> {
  await refuseForeign(layout, spec);
  const login: LoginRecord = {
    folder: layout.records(spec),
    interface: interfaceName(layout, spec),
    initiator: initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch),
    target: spec.target,
    portals: expected.portals,
    chap,
  };
  await writeRecords(login);
  await logIn(login).catch(async (thrown: unknown) => {
    // One of several is enough.
    if (login.portals.length === 1 || (await sessionsOf(login.interface)).length === 0)
      throw thrown;
  });
  signal.throwIfAborted();
  return arrivalOf(layout, spec, expected, signal);
}

/**
 * The disk of each session of a volume; has the kernel look for it where it has none. Each has to be what was
 * looked at: two portals need not lead to the same LUN.
 *
 * @throws {UnderstudyError} US_STORAGE_INITIATOR, US_STORAGE_IDENTITY
 */
export async function arrivalOf(
  layout: Layout,
  spec: AttachSpec,
  expected: Pick<Expected, 'serial' | 'sizeBytes'>,
  signal: AbortSignal,
): Promise<readonly KernelDisk[]> {
  const initiator = initiatorName(spec.cluster, spec.personality, spec.host, spec.epoch);
  const sessions = await sessionsOf(interfaceName(layout, spec));
  if (sessions.length === 0 || sessions.some((session) => session.initiator !== initiator)) {
    const cause = 'the kernel has no session of that name, though it was logged in';
    throw initiatorError('cannot find the session of', spec.target, cause);
  }
  return Promise.all(
    sessions.map(async ({ name }) => {
      const disk = await arrival(name, spec, signal);
      await assertExpected(disk, spec, expected);
      return disk;
    }),
  );
}

/** The disk of the LUN, once it can be opened. */
async function arrival(
  session: string,
  spec: AttachSpec,
  signal: AbortSignal,
): Promise<KernelDisk> {
  const uevents = new UeventWatch();
  const limit = within(arrivalMs, signal);
  try {
    await scanLun(session, spec.targetLun);
    return await uevents.until(() => readyDisk(session, spec.targetLun), limit);
  } catch (thrown) {
    signal.throwIfAborted();
    const words = limit.aborted ? `it has not come in ${arrivalMs} ms` : messageOf(thrown);
    const object = `LUN ${spec.targetLun} of ${spec.target}`;
    throw initiatorError('cannot get the disk of', object, words);
  } finally {
    uevents.close();
  }
}

async function readyDisk(session: string, lun: number): Promise<KernelDisk | undefined> {
  const disk = (await disksOf(session)).find((found) => found.lun === lun);
  if (disk === undefined || disk.number === '') return undefined;
  // ENXIO until the kernel has made it whole (bdev_add, block/genhd.c); ENOENT until its node is there.
  const handle = await open(`/dev/${disk.name}`, 'r').catch(() => undefined);
  await handle?.close();
  return handle === undefined ? undefined : disk;
}

async function assertExpected(
  disk: KernelDisk,
  spec: AttachSpec,
  expected: Pick<Expected, 'serial' | 'sizeBytes'>,
): Promise<void> {
  const [serial, sizeBytes] = await Promise.all([diskSerial(disk), diskBytes(disk)]);
  checkSerial({ ...spec, recordedSerial: expected.serial }, serial);
  if (sizeBytes === expected.sizeBytes) return;
  const what = `${disk.name} has ${sizeBytes} bytes, the target said ${expected.sizeBytes}`;
  throw identityError(spec, what, ['see what changes the LUN on the target; it is tried again']);
}

/**
 * A session of somebody else's (the user's own open-iscsi) that has this very LUN would be a second writer
 * that nothing here knows of.
 *
 * @throws {UnderstudyError} US_STORAGE_ELSEWHERE
 */
async function refuseForeign(layout: Layout, spec: AttachSpec): Promise<void> {
  if (!(await hasIscsi())) return;
  const ours = interfaceName(layout, spec);
  for (const session of await kernelSessions()) {
    if (session.target !== spec.target || session.interface === ours) continue;
    // Another host's, where several share a kernel: the fence keeps that one out.
    if (isOwnName(session.initiator)) continue;
    const disk = (await disksOf(session.name)).find(({ lun }) => lun === spec.targetLun);
    if (disk === undefined) continue;
    throw elsewhere(
      spec,
      `LUN ${spec.targetLun} of ${spec.target} is /dev/${disk.name} of this host already, by a session of its own (interface ${session.interface})`,
      `log it out (iscsiadm -m session -r ${session.id} --logout), and see that it is not logged in to at boot`,
    );
  }
}
