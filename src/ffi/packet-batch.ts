import koffi from 'koffi';
import { check, errno, libc, SystemCallError } from './libc.js';
import {
  AF_PACKET,
  attachFilter,
  bindSocket,
  type FilterInstruction,
  openSocket,
  SOCK_RAW,
  SOL_SOCKET,
  setSocketOption,
} from './sockets.js';

/** <linux/if_packet.h> */
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_IGNORE_OUTGOING = 23;
const SO_RCVBUFFORCE = 33;
const SO_TIMESTAMPNS = 35;
const ETH_P_ALL = 3;

const CLOCK_REALTIME = 0;
const CLOCK_BOOTTIME = 7;

const libcRecvmmsg = libc.func(
  'int recvmmsg(int fd, void *messages, uint32_t count, int flags, void *timeout)',
) as (fd: number, messages: Buffer, count: number, flags: number, timeout: null) => number;
const libcGetsockopt = libc.func(
  'int getsockopt(int fd, int level, int name, void *value, _Inout_ uint32_t *length)',
);
const libcIndexToName = libc.func('void *if_indextoname(uint32_t index, void *name)');
const clockGettime = libc.func('int clock_gettime(int clock, void *time)') as (
  clock: number,
  time: BigInt64Array,
) => number;

/** One frame as it came in. */
export interface BatchFrame {
  /** When the kernel took it in, on the boot clock. */
  readonly atNs: bigint;
  readonly linkIndex: number;
  /** Valid until the next batch is read. */
  readonly frame: Buffer;
}

/** struct mmsghdr and what it points to, for one frame. */
const headerBytes = 64;
const nameBytes = 32;
const vectorBytes = 16;
const controlBytes = 64;
const batchFrames = 64;

/**
 * Frames from every device of a namespace with the kernel's own time stamps, many a call (packet(7),
 * recvmmsg(2)). Only what comes in, not what goes out.
 */
export class PacketBatch {
  readonly fd: number;
  readonly #snapBytes: number;
  readonly #headers = Buffer.alloc(batchFrames * headerBytes);
  readonly #names = Buffer.alloc(batchFrames * nameBytes);
  readonly #vectors = Buffer.alloc(batchFrames * vectorBytes);
  readonly #controls = Buffer.alloc(batchFrames * controlBytes);
  readonly #frames: Buffer;

  /**
   * Made in the calling thread's network namespace. What `filter` accepts is kept up to `snapBytes` a
   * frame; `queueBytes` wait in the kernel while this process is busy.
   */
  constructor(filter: readonly FilterInstruction[], snapBytes: number, queueBytes: number) {
    this.#snapBytes = snapBytes;
    this.#frames = Buffer.alloc(batchFrames * snapBytes);
    // Protocol 0 first: nothing comes before the filter is there.
    this.fd = openSocket(AF_PACKET, SOCK_RAW, 0);
    setSocketOption(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, queueBytes);
    setSocketOption(this.fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    setSocketOption(this.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    attachFilter(this.fd, filter);
    const everyDevice = Buffer.alloc(20);
    everyDevice.writeUInt16LE(AF_PACKET, 0);
    everyDevice.writeUInt16BE(ETH_P_ALL, 2);
    bindSocket(this.fd, everyDevice);
    this.#point();
  }

  /** What waits, up to one batch; nothing when nothing does. */
  read(): readonly BatchFrame[] {
    for (let index = 0; index < batchFrames; index++) {
      // The kernel writes lengths over what was asked for.
      this.#headers.writeUInt32LE(nameBytes, index * headerBytes + 8);
      this.#headers.writeBigUInt64LE(BigInt(controlBytes), index * headerBytes + 40);
    }
    const count = libcRecvmmsg(this.fd, this.#headers, batchFrames, 0, null);
    if (count < 0) {
      const code = koffi.errno();
      // A device of the namespace went away; the next call goes on (packet(7)).
      if (code === errno.EAGAIN || code === errno.EINTR || code === errno.ENETDOWN) return [];
      throw new SystemCallError('recvmmsg', code);
    }
    const wallToBootNs = clock(CLOCK_BOOTTIME) - clock(CLOCK_REALTIME);
    return Array.from({ length: count }, (_, index) => this.#frame(index, wallToBootNs));
  }

  /** Frames that found the queue full since this was asked last. */
  dropped(): number {
    // struct tpacket_stats: packets, drops; reading resets both.
    const statistics = Buffer.alloc(8);
    check(
      'getsockopt',
      libcGetsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, statistics, [statistics.length]),
    );
    return statistics.readUInt32LE(4);
  }

  #frame(index: number, wallToBootNs: bigint): BatchFrame {
    const length = this.#headers.readUInt32LE(index * headerBytes + 56);
    const at = index * this.#snapBytes;
    // struct cmsghdr (16 bytes), then struct timespec: the only control message that was asked for.
    const stamp = index * controlBytes + 16;
    const wallNs =
      this.#controls.readBigInt64LE(stamp) * 1_000_000_000n +
      this.#controls.readBigInt64LE(stamp + 8);
    return {
      atNs: wallNs + wallToBootNs,
      linkIndex: this.#names.readInt32LE(index * nameBytes + 4),
      frame: this.#frames.subarray(at, at + Math.min(length, this.#snapBytes)),
    };
  }

  /** Lets each header point to its own name, frame and control bytes. */
  #point(): void {
    for (let index = 0; index < batchFrames; index++) {
      const vector = index * vectorBytes;
      const frame = koffi.address(this.#frames) + BigInt(index * this.#snapBytes);
      this.#vectors.writeBigUInt64LE(frame, vector);
      this.#vectors.writeBigUInt64LE(BigInt(this.#snapBytes), vector + 8);
      const header = index * headerBytes;
      const name = koffi.address(this.#names) + BigInt(index * nameBytes);
      this.#headers.writeBigUInt64LE(name, header);
      this.#headers.writeBigUInt64LE(koffi.address(this.#vectors) + BigInt(vector), header + 16);
      this.#headers.writeBigUInt64LE(1n, header + 24);
      const control = koffi.address(this.#controls) + BigInt(index * controlBytes);
      this.#headers.writeBigUInt64LE(control, header + 32);
    }
  }
}

/** Name of a device in the calling thread's network namespace; undefined when it is gone. */
export function linkName(index: number): string | undefined {
  const name = Buffer.alloc(16);
  if (libcIndexToName(index, name) === null) return undefined;
  return name.toString('latin1').replace(/\0.*$/s, '');
}

function clock(which: number): bigint {
  const time = new BigInt64Array(2);
  check('clock_gettime', clockGettime(which, time));
  return (time[0] ?? 0n) * 1_000_000_000n + (time[1] ?? 0n);
}
