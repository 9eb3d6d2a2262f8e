import { mkdirSync, rmSync } from 'node:fs';
import type { Test } from 'tap';
import type { Log } from '../../src/storage/log.js';
import type { StorageAdapter } from '../../src/storage/types.js';
import { UserStorage } from '../../src/storage/user-storage.js';
import type { LunServer } from './lun-server.js';

/** What tests of attached volumes share. */
const never = new AbortController().signal;
let nextTid = 1;

/** A target of its own for each test: name, tid and backing file. */
export function freshTarget(server: LunServer, sizeBytes?: number) {
  const tid = nextTid++;
  const name = `iqn.2026-11.test:v${tid}`;
  const file = server.addTarget({ tid, name, ...(sizeBytes ? { sizeBytes } : {}) });
  return { tid, name, file };
}

/** A storage adapter with a run directory of its own; everything is taken down at the end of the test. */
export function storageIn(t: Test, runDirectory: string): Promise<UserStorage> {
  return openStorage(t, runDirectory, (options) => new UserStorage(options));
}

/** The same for whatever backend. */
export async function openStorage<T extends StorageAdapter>(
  t: Test,
  runDirectory: string,
  make: (options: { runDirectory: string; log?: Log }) => T,
): Promise<T> {
  mkdirSync(runDirectory, { recursive: true });
  const storage = make({ runDirectory, log: logTo(t) });
  await storage.start(never);
  t.teardown(async () => {
    await storage.stop();
    await forget(make({ runDirectory }));
    rmSync(runDirectory, { recursive: true, force: true });
  });
  return storage;
}

async function forget(last: StorageAdapter): Promise<void> {
  await last.start(never);
  for (const { personality, lun } of await last.observe(never)) {
    await last.abort(personality, lun, never);
  }
  await last.stop();
}

function logTo(t: Test) {
  const say = (details: object, text: string) => t.comment(`${text} ${JSON.stringify(details)}`);
  return { debug: say, info: say, warn: say };
}

export async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (thrown: unknown) => (thrown as { code?: string }).code ?? String(thrown),
  );
}
