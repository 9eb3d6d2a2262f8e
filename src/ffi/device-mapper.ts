import { type FileHandle, open } from 'node:fs/promises';
import { libc, SystemCallError } from './libc.js';
import { type OffThread, offThread } from './off-thread.js';

/**
 * Devices of the device mapper by ioctl (include/uapi/linux/dm-ioctl.h), without dmsetup. Off the main
 * thread: paths are opened, and closed, on the way.
 */
export const mapperControl = '/dev/mapper/control';

const commands = { create: 3, remove: 4, resume: 6, load: 9, status: 12, message: 14 } as const;
type Command = keyof typeof commands;

/** struct dm_ioctl, which what belongs to a command follows. */
const headerBytes = 312;
const at = { size: 12, start: 16, count: 20, flags: 28, device: 40, name: 48, uuid: 176 } as const;
const longest = { name: 127, uuid: 128 } as const;
/** struct dm_target_spec; its parameters follow. */
const specBytes = 40;
const answerBytes = 16_384;
const dmFlags = { readOnly: 1 << 0, bufferFull: 1 << 8, deferredRemove: 1 << 17 } as const;

const ioctl = libc.func(
  'int ioctl(int fd, unsigned long request, void *argument)',
) as unknown as OffThread<[fd: number, request: number, argument: Buffer]>;

export interface MapSpec {
  /** At most 127 bytes. */
  readonly name: string;
  /** Tells whose it is; at most 128 bytes. */
  readonly uuid: string;
  readonly sectors: number;
  readonly type: 'multipath';
  readonly parameters: string;
  readonly readOnly: boolean;
}

/**
 * Equals: `dmsetup create NAME --uuid UUID --table "0 SECTORS TYPE PARAMETERS" --noudevsync`
 *
 * @returns `major:minor`
 * @throws {SystemCallError} EBUSY when there is one of that name, EINVAL; then there is none of it
 */
export async function createMap(spec: MapSpec): Promise<string> {
  const { name, uuid, readOnly } = spec;
  const mode = readOnly ? dmFlags.readOnly : 0;
  const created = await send('create', { name, uuid, flags: mode });
  try {
    await send('load', { name, flags: mode, targets: 1, body: table(spec) });
    await send('resume', { name, flags: mode });
  } catch (thrown) {
    await send('remove', { name }).catch(() => {});
    throw thrown;
  }
  const device = created.readBigUInt64LE(at.device);
  // As new_encode_dev has it (include/linux/kdev_t.h).
  const minor = (device & 0xffn) | ((device >> 12n) & 0xfff00n);
  return `${(device >> 8n) & 0xfffn}:${minor}`;
}

/**
 * Equals: `dmsetup remove NAME`; `deferred`: when its last user has closed it (`--deferred`). Nothing to do
 * for one that is not there.
 *
 * @throws {SystemCallError} EBUSY while it is in use
 */
export async function removeMap(name: string, deferred = false): Promise<void> {
  await send('remove', { name, flags: deferred ? dmFlags.deferredRemove : 0 }).catch(
    (thrown: unknown) => {
      if (!(thrown instanceof SystemCallError && thrown.errnoName === 'ENXIO')) throw thrown;
    },
  );
}

/** Equals: `dmsetup message NAME 0 MESSAGE` @throws {SystemCallError} */
export async function messageMap(name: string, message: string): Promise<void> {
  await send('message', { name, body: Buffer.from(`${'\0'.repeat(8)}${message}\0`) });
}

/** Equals: `dmsetup status NAME`, its words without where it begins and what it is. @throws {SystemCallError} */
export async function mapStatus(name: string): Promise<string> {
  const answer = await send('status', { name, answers: true });
  const first = answer.readUInt32LE(at.start) + specBytes;
  const end = answer.indexOf(0, first);
  return answer.toString('latin1', first, end);
}

function table({ sectors, type, parameters }: MapSpec): Buffer {
  const length = align(specBytes + Buffer.byteLength(parameters) + 1);
  const spec = Buffer.alloc(length);
  spec.writeBigUInt64LE(BigInt(sectors), 8);
  spec.writeUInt32LE(length, 20);
  spec.write(type, 24, 15, 'latin1');
  spec.write(parameters, specBytes, 'latin1');
  return spec;
}

const align = (bytes: number) => Math.ceil(bytes / 8) * 8;

interface Order {
  readonly name: string;
  readonly uuid?: string;
  readonly flags?: number;
  readonly targets?: number;
  readonly body?: Buffer;
  readonly answers?: boolean;
}

async function send(command: Command, order: Order): Promise<Buffer> {
  const { name, uuid = '', flags = 0, targets = 0, body = Buffer.alloc(0) } = order;
  if (name.length > longest.name || uuid.length > longest.uuid)
    throw new Error(`${name}: too long`);
  const argument = Buffer.alloc(headerBytes + (order.answers === true ? answerBytes : body.length));
  argument.writeUInt32LE(4, 0);
  argument.writeUInt32LE(argument.length, at.size);
  argument.writeUInt32LE(headerBytes, at.start);
  argument.writeUInt32LE(targets, at.count);
  argument.writeUInt32LE(flags, at.flags);
  argument.write(name, at.name, 'latin1');
  argument.write(uuid, at.uuid, 'latin1');
  body.copy(argument, headerBytes);
  const control = await open(mapperControl, 'r+');
  try {
    await perform(control, command, name, argument);
  } finally {
    await control.close();
  }
  if ((argument.readUInt32LE(at.flags) & dmFlags.bufferFull) !== 0) {
    throw new Error(`${name}: more than ${answerBytes} bytes of status`);
  }
  return argument;
}

async function perform(
  { fd }: FileHandle,
  command: Command,
  name: string,
  argument: Buffer,
): Promise<void> {
  // _IOWR(DM_IOCTL, command, struct dm_ioctl)
  const request = (3 * 2 ** 30 + headerBytes * 2 ** 16 + 0xfd * 2 ** 8) | 0;
  const number = (request >>> 0) + commands[command];
  const { result, errno } = await offThread(ioctl, fd, number, argument);
  if (result < 0) throw new SystemCallError(`device mapper, ${command} ${name}`, errno);
}
