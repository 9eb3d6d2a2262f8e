import {
  AF_NETLINK,
  bindSocket,
  closeSocket,
  openSocket,
  receiveFrom,
  SOCK_RAW,
  SocketWatch,
} from './sockets.js';

const NETLINK_KOBJECT_UEVENT = 15;
/** Group 1 is the kernel's own word, group 2 what udev made of it (lib/kobject_uevent.c). */
const kernelGroup = 1;
/** A uevent has at most 2 KiB (UEVENT_BUFFER_SIZE) and its header. */
const bufferBytes = 4_096;
const unaskedMs = 1_000;

/**
 * Wakes whoever waits for a device: the kernel tells each that comes or goes. What is said is not looked
 * at, since words can be lost (netlink(7), ENOBUFS): whoever is woken looks at the device itself.
 */
export class UeventWatch {
  readonly #fd: number;
  readonly #watch: SocketWatch;
  #wake: () => void = () => {};

  /** @throws {SystemCallError} */
  constructor() {
    this.#fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT);
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK, 0);
    address.writeUInt32LE(kernelGroup, 8);
    try {
      bindSocket(this.#fd, address);
      this.#watch = new SocketWatch(this.#fd, () => this.#drain());
    } catch (thrown) {
      closeSocket(this.#fd);
      throw thrown;
    }
  }

  /**
   * Looks at once and after each uevent until there is something to see.
   *
   * @throws what `look` throws; the signal's reason
   */
  async until<T>(look: () => Promise<T | undefined>, signal: AbortSignal): Promise<T> {
    // Keeps the process alive, and looks where the kernel could not tell.
    const now = setInterval(() => this.#wake(), unaskedMs);
    try {
      for (;;) {
        signal.throwIfAborted();
        // Before looking: what comes meanwhile is not missed.
        const woken = this.#nextEvent(signal);
        const seen = await look();
        if (seen !== undefined) return seen;
        await woken;
      }
    } finally {
      clearInterval(now);
    }
  }

  close(): void {
    this.#watch.close();
    closeSocket(this.#fd);
  }

  #nextEvent(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
    });
  }

  #drain(): void {
    const buffer = Buffer.alloc(bufferBytes);
    const address = Buffer.alloc(12);
    try {
      while (receiveFrom(this.#fd, buffer, address) !== undefined);
    } catch {
      // Some were lost: reason enough to look.
    }
    this.#wake();
  }
}
