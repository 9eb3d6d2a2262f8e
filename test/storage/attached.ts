import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Log } from '../../src/storage/log.js';
import type { StorageAdapter } from '../../src/storage/types.js';
import { UserStorage } from '../../src/storage/user-storage.js';
import type { LunServer } from './lun-server.js';
import type { Account } from './refusal-cases.js';
import type { FreshLun } from './storage-cases.js';

/** What tests of attached volumes share. */
const never = new AbortController().signal;
let nextTid = 1;

/** A target of its own for each test: name, tid and backing file. */
export function freshTarget(
  server: LunServer,
  sizeBytes?: number,
  more: { readonly serial?: string; readonly thin?: boolean } = {},
) {
  const tid = nextTid++;
  const name = `iqn.2026-11.test:v${tid}`;
  const file = server.addTarget({ tid, name, ...more, ...(sizeBytes ? { sizeBytes } : {}) });
  return { tid, name, file };
}

/** LUNs of a target daemon, each a target of its own, as the shared cases ask for them. */
export function tgtWorld(server: LunServer) {
  const tids = new Map<string, number>();
  const lun = (sizeMiB = 64, more: { readonly serial?: string; readonly thin?: boolean } = {}) => {
    const { tid, name, file } = freshTarget(server, sizeMiB * 1024 * 1024, more);
    tids.set(name, tid);
    return { target: name, targetLun: 1, file };
  };
  const bind = (tid: number, { user, secret }: Account, ...more: readonly string[]) => {
    const account = ['--mode', 'account', '--user', user];
    server.tgtadm('--op', 'new', ...account, '--password', secret);
    server.tgtadm('--op', 'bind', ...account, '--tid', String(tid), ...more);
  };
  return {
    ...{ portal: server.portal, directory: server.directory, lun },
    // A LUN of tgt's own, which is no disk.
    missingLun: 0,
    askForChap: (of: FreshLun, asked: { ours: Account; theirs: Account } | undefined) => {
      // Each has a target of its own: there is nothing to take back.
      if (asked === undefined) return;
      const tid = tids.get(of.target) ?? 0;
      bind(tid, asked.ours);
      bind(tid, asked.theirs, '--outgoing');
    },
    fullLun: (folder: string) => {
      const fresh = lun();
      const file = join(folder, 'lun');
      execFileSync('truncate', ['-s', '64M', file]);
      const unit = ['--mode', 'logicalunit', '--tid', String(tids.get(fresh.target)), '--lun', '1'];
      server.tgtadm('--op', 'delete', ...unit);
      server.tgtadm('--op', 'new', ...unit, '-b', file);
      return { ...fresh, file };
    },
    twinOf: ({ target }: FreshLun) => lun(64, { serial: `serial-${tids.get(target)}` }),
  };
}

/** The user backend on a target daemon, for what both backends are tested by. */
export function userWorld(server: LunServer) {
  return { ...tgtWorld(server), open: storageIn };
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
