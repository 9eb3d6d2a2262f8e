import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AttachSpec } from '../../src/storage/types.js';
import { UserStorage } from '../../src/storage/user-storage.js';

/**
 * A host of its own, for a test that cuts its power: attaches a volume in this process's mount and
 * PID namespaces, writes one file with fsync and one without, says so, and waits to be killed.
 */
const { runDirectory, spec } = JSON.parse(process.argv[2] ?? '') as {
  runDirectory: string;
  spec: AttachSpec;
};
const never = new AbortController().signal;
const storage = new UserStorage({ runDirectory });
await storage.start(never);
const volume = await storage.attach(spec, never);
writeFileSync(join(volume.hostMount, 'synced'), 'kept', { flush: true });
writeFileSync(join(volume.hostMount, 'dirty'), 'lost');
console.log(JSON.stringify(volume));
setInterval(() => {}, 60_000);
