import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { KernelStorage, type KernelStorageOptions } from '../src/storage/kernel-storage.js';
import type { Log } from '../src/storage/log.js';
import type { AttachSpec, StorageAdapter } from '../src/storage/types.js';
import { UserStorage } from '../src/storage/user-storage.js';
import { type Ending, startLunServer } from '../test/storage/lun-server.js';
import { startInitiator } from '../test/uml/initiator.js';
import { enforceIsids, lioPortal, lioTarget, startLio } from '../test/uml/lio.js';

/**
 * A volume goes from host to host and back, each time as after a power cut: the data path of the one before
 * ends without an order, with a journal to be replayed. Prints what each round took, as JSON.
 *
 * Arguments: `tgt` or, in a guest, `lio` or `kernel` (LIO by the kernel's own initiator); rounds; how the
 * volume is fenced where the kernel carries it.
 */
export interface Round {
  /** The fence by reservation; undefined where the mask fences, which runs beside the target. */
  readonly fenceMs: number | undefined;
  /** From a disk process without a disk to the mounted file system. */
  readonly attachMs: number;
  readonly stepsMs: Readonly<Record<string, number>>;
}

const never = new AbortController().signal;
/** What is kept ready is made in between; nobody tells when it is done. */
const restMs = 400;

async function main(): Promise<void> {
  const [kind = 'tgt', rounds = '30', fence = 'mask'] = process.argv.slice(2);
  const endings: (() => unknown)[] = [];
  try {
    const end = { teardown: (ending: () => unknown) => void endings.push(ending) };
    const byKernel = kind === 'kernel';
    if (byKernel) startInitiator(end, { noted: false });
    const place = kind === 'tgt' ? await onTgt(end) : onLio(byKernel && fence === 'mask');
    const make = (options: KernelStorageOptions) =>
      byKernel ? new KernelStorage(options) : new UserStorage(options);
    const measured = await takeovers(Number(rounds), { ...volume, ...place }, make);
    console.log(JSON.stringify(measured));
  } finally {
    for (const ending of endings.reverse()) await ending();
  }
}

type Place = Pick<AttachSpec, 'portals' | 'target' | 'targetLun' | 'fence'>;

async function onTgt(end: Ending): Promise<Place> {
  const server = await startLunServer(end);
  const target = 'iqn.2026-11.test:bench';
  server.addTarget({ tid: 1, name: target });
  return { portals: [server.portal], target, targetLun: 1, fence: 'mask' };
}

function onLio(masked: boolean): Place {
  startLio();
  enforceIsids(false);
  const fence = masked ? 'mask' : 'reservation';
  return { portals: [lioPortal], target: lioTarget, targetLun: 0, fence };
}

const volume = {
  cluster: 'bench',
  personality: 'db',
  lun: 0,
  volume: 'data',
  filesystem: 'ext4',
  format: 'if-blank',
  recordedSerial: undefined,
} as const;

type Make = (options: KernelStorageOptions) => StorageAdapter;

async function takeovers(
  rounds: number,
  place: Omit<AttachSpec, 'host' | 'epoch'>,
  make: Make,
): Promise<readonly Round[]> {
  const hosts = await Promise.all(['h1', 'h2'].map((name) => Host.start(name, make)));
  const done: Round[] = [];
  try {
    // The first makes the file system, and with the second everything has run once.
    for (let epoch = 1; epoch <= rounds + 2; epoch += 1) {
      const [next, before] = epoch % 2 === 0 ? [hosts[0], hosts[1]] : [hosts[1], hosts[0]];
      if (next === undefined || before === undefined) break;
      const spec = { ...place, host: next.name, epoch };
      await next.storage.warm(spec, never);
      await pause(restMs);
      const startedMs = performance.now();
      if (spec.fence === 'reservation') await next.storage.fence(spec, never);
      const fencedMs = performance.now();
      // It may not write any more; that it goes is no part of the takeover.
      await before.storage.abort('db', 0, never);
      const abortedMs = performance.now();
      const { hostMount } = await next.storage.attach(spec, never);
      const attachMs = performance.now() - abortedMs;
      writeFileSync(`${hostMount}/of-${epoch % 8}`, Buffer.alloc(65_536, epoch), { flush: true });
      const fenceMs = spec.fence === 'reservation' ? fencedMs - startedMs : undefined;
      if (epoch > 2) done.push({ fenceMs, attachMs, stepsMs: next.stepsMs });
    }
  } finally {
    for (const host of hosts) await host.end();
  }
  return done;
}

class Host {
  readonly name: string;
  readonly storage: StorageAdapter;
  stepsMs: Record<string, number> = {};
  readonly #runDirectory: string;

  private constructor(name: string, make: Make) {
    this.name = name;
    this.#runDirectory = `/run/usbench-${process.pid}-${name}`;
    const nothing = () => {};
    const log: Log = {
      ...{ info: nothing, warn: nothing },
      debug: (details) => {
        const { stepsMs } = details as { stepsMs?: Record<string, number> };
        if (stepsMs !== undefined) this.stepsMs = stepsMs;
      },
    };
    this.storage = make({ runDirectory: this.#runDirectory, log });
  }

  static async start(name: string, make: Make): Promise<Host> {
    const host = new Host(name, make);
    mkdirSync(host.#runDirectory, { recursive: true });
    await host.storage.start(never);
    return host;
  }

  async end(): Promise<void> {
    await this.storage.abort('db', 0, never);
    await this.storage.stop();
    rmSync(this.#runDirectory, { recursive: true, force: true });
  }
}

await main();
