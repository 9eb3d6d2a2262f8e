import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { nameAmong } from './lun-identity.js';
import { parseDesignators, parseSerial } from './scsi.js';

/** The kernel's iSCSI sessions and their disks, as sysfs has them (scsi_transport_iscsi.c). */

const root = '/sys/class/iscsi_session';

export interface KernelSession {
  /** `session3`. */
  readonly name: string;
  readonly id: number;
  /** Name of the interface record that it was made by. */
  readonly interface: string;
  readonly initiator: string;
  readonly target: string;
}

export interface KernelDisk {
  readonly session: string;
  /** `sda`. */
  readonly name: string;
  /** `major:minor`. */
  readonly number: string;
  readonly lun: number;
  /** Folder of the SCSI device in sysfs. */
  readonly folder: string;
}

/** Whether this kernel has iSCSI over TCP loaded. */
export async function hasIscsi(): Promise<boolean> {
  return (await names('/sys/class/iscsi_transport')).includes('tcp');
}

export async function kernelSessions(): Promise<readonly KernelSession[]> {
  const found = await Promise.all(
    (await names(root)).map(async (name) => {
      const [id, text] = [Number(/^session(\d+)$/.exec(name)?.[1]), attributes(name)];
      const [face, initiator, target] = await Promise.all([
        text('ifacename'),
        text('initiatorname'),
        text('targetname'),
      ]);
      // One that is just ending has none of them any more.
      if (!Number.isInteger(id) || target === '') return undefined;
      return { name, id, interface: face, initiator, target };
    }),
  );
  return found.filter((session) => session !== undefined);
}

/** @param interfaceName of an interface record: of ours alone one session has it */
export async function sessionsOf(interfaceName: string): Promise<readonly KernelSession[]> {
  return (await kernelSessions()).filter((session) => session.interface === interfaceName);
}

/** `up`; `failed` and `bound` while it is being made again; '' when its session is gone. */
export async function connectionState({ id }: Pick<KernelSession, 'id'>): Promise<string> {
  return (await content(`/sys/class/iscsi_connection/connection${id}:0/state`)).trim();
}

/** Every disk that a session has brought. */
export async function disksOf(session: string): Promise<readonly KernelDisk[]> {
  const home = await realpath(`${root}/${session}/device`).catch(() => '');
  const targets = (await names(home)).filter((name) => name.startsWith('target'));
  const units = await Promise.all(
    targets.map(async (target) =>
      (await names(`${home}/${target}`))
        .filter((name) => /^\d+:\d+:\d+:\d+$/.test(name))
        .map((name) => `${home}/${target}/${name}`),
    ),
  );
  const disks = await Promise.all(units.flat().map((folder) => diskAt(session, folder)));
  return disks.filter((disk) => disk !== undefined);
}

async function diskAt(session: string, folder: string): Promise<KernelDisk | undefined> {
  const [name] = await names(`${folder}/block`);
  if (name === undefined) return undefined;
  const number = (await content(`${folder}/block/${name}/dev`)).trim();
  return { session, name, number, lun: Number(folder.split(':').at(-1)), folder };
}

/**
 * Has the kernel look for one LUN and no other: the session was made with `node.session.scan = manual`.
 *
 * Equals: `echo "0 TARGET LUN" > /sys/class/scsi_host/hostN/scan`
 */
export async function scanLun(session: string, lun: number): Promise<void> {
  const home = await realpath(`${root}/${session}/device`);
  const host = /\/(host\d+)\//.exec(`${home}/`)?.[1];
  const target = await attributes(session)('target_id');
  await writeFile(`/sys/class/scsi_host/${host}/scan`, `0 ${target} ${lun}`);
}

/**
 * Fails whatever is written or read from now on, without asking the target; what is under way goes on
 * until the session ends. Nothing to do for a disk that is gone.
 *
 * Equals: `echo offline > /sys/block/sdX/device/state`
 */
export async function takeOffline(disk: Pick<KernelDisk, 'folder'>): Promise<void> {
  await writeFile(`${disk.folder}/state`, 'offline').catch(() => {});
}

/**
 * Takes the disk away from the kernel, with all that was read of it. The session stays, and so does what
 * is registered by it.
 *
 * Equals: `echo 1 > /sys/block/sdX/device/delete`
 */
export async function removeDisk(disk: Pick<KernelDisk, 'folder'>): Promise<void> {
  await writeFile(`${disk.folder}/delete`, '1');
}

/** `running`; `blocked` while its session is being made again; `offline`. '' when it is gone. */
export async function diskState(disk: Pick<KernelDisk, 'folder'>): Promise<string> {
  return (await content(`${disk.folder}/state`)).trim();
}

/** The serial number that the kernel was told when it found the disk, else its name; '' for neither. */
export async function diskSerial(disk: Pick<KernelDisk, 'folder'>): Promise<string> {
  const page = (number: string) =>
    readFile(`${disk.folder}/vpd_pg${number}`).catch(() => Buffer.alloc(0));
  const serial = parseSerial(await page('80'));
  return serial !== '' ? serial : nameAmong(parseDesignators(await page('83')));
}

export async function diskBytes(disk: Pick<KernelDisk, 'folder' | 'name'>): Promise<number> {
  // In units of 512 bytes, whatever the disk's blocks have (block/genhd.c).
  return Number(await content(`${disk.folder}/block/${disk.name}/size`)) * 512;
}

/**
 * Opens it when nobody has it mounted or claimed otherwise, in whatever mount namespace (open(2), O_EXCL).
 *
 * @throws EBUSY
 */
export function openExclusively(device: string): Promise<FileHandle> {
  return open(device, constants.O_RDONLY | constants.O_EXCL);
}

function attributes(session: string): (name: string) => Promise<string> {
  return async (name) => (await content(`${root}/${session}/${name}`)).trim();
}

async function content(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

async function names(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => []);
}
