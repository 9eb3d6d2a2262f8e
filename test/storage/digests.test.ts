import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { codeOf, freshTarget, storageIn } from './attached.js';
import { IscsiProxy } from './iscsi-proxy.js';
import { attachSpec, type LunServer, startLunServer } from './lun-server.js';

const never = new AbortController().signal;
const lun = 1;
const blockBytes = 512;
const mark = Buffer.alloc(blockBytes, 'a mark ');

/** libiscsi offers "None,CRC32C", here and in the data path: so it is the target that decides. */
test('digests of headers', async (t) => {
  const server = await startLunServer(t);
  const proxy = await IscsiProxy.start(t, { port: 3270, targetPort: 3260 });

  await t.test('without one a write whose header is damaged lands elsewhere', async (t) => {
    const { file, session } = await loggedIn(t, server, proxy, 'None');
    t.equal((await proxy.seen()).headerDigests.at(-1), 'None');
    await proxy.damageOne();
    t.equal(await codeOf(session.write(lun, 8n, mark, blockBytes)), 'no error');
    t.equal(placeOf(file), 8 + 256, 'and nobody is told');
  });

  await t.test('with CRC32C it is not carried out', async (t) => {
    const { file, session } = await loggedIn(t, server, proxy, 'CRC32C');
    t.equal((await proxy.seen()).headerDigests.at(-1), 'CRC32C');
    await proxy.damageOne();
    t.equal(await codeOf(session.write(lun, 8n, mark, blockBytes)), 'US_STORAGE_UNREACHABLE');
    t.equal((await proxy.seen()).damage, 0, 'it was damaged');
    t.notOk(readFileSync(file).includes(mark), 'and thrown away');
  });

  await t.test('the data path has it too, and writes on after damage', async (t) => {
    const { tid, name, file } = freshTarget(server);
    agreeTo(server, tid, 'HeaderDigest', 'CRC32C');
    const storage = await storageIn(t, join(server.directory, 'a'));
    const before = (await proxy.seen()).headerDigests.length;
    const spec = attachSpec(server, { target: name, portals: [proxy.portal] });
    const { hostMount } = await storage.attach(spec, never);
    const agreed = (await proxy.seen()).headerDigests.slice(before);
    t.ok(agreed.length >= 2 && agreed.every((digest) => digest === 'CRC32C'), agreed.join(', '));
    await proxy.damageOne();
    writeFileSync(`${hostMount}/note`, mark, { flush: true });
    t.equal((await proxy.seen()).damage, 0, 'one write was damaged');
    await storage.detach('web1', 0, never);
    t.ok(readFileSync(file).includes(mark), 'and done again');
    const again = await storage.attach({ ...spec, epoch: 2, format: 'never' }, never);
    t.same(readFileSync(`${again.hostMount}/note`), mark);
    await storage.detach('web1', 0, never);
  });
});

async function loggedIn(t: Test, server: LunServer, proxy: IscsiProxy, digest: string) {
  const { tid, name, file } = freshTarget(server);
  agreeTo(server, tid, 'HeaderDigest', digest);
  const limits = { loginMs: 2_000, commandMs: 2_000 };
  const me = 'iqn.2026-11.test:me';
  const session = await IscsiSession.login([proxy.portal], name, me, never, limits);
  t.teardown(() => session.close());
  // A first command is answered by UNIT ATTENTION, and repeated.
  await session.testUnitReady(lun);
  return { file, session };
}

function agreeTo(server: LunServer, tid: number, key: string, value: string): void {
  const target = ['--mode', 'target', '--tid', String(tid)];
  server.tgtadm('--op', 'update', ...target, '--name', key, '--value', value);
}

/** Number of the first block that holds the mark. */
function placeOf(file: string): number {
  return readFileSync(file).indexOf(mark) / blockBytes;
}
