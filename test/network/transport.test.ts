import { closeSync, openSync, writeSync } from 'node:fs';
import fc from 'fast-check';
import { type Test, test } from 'tap';
import { inNetworkNamespace } from '../../src/ffi/namespace.js';
import { offThread } from '../../src/ffi/off-thread.js';
import {
  Attributes,
  MalformedMessage,
  nested,
  text,
  u32,
} from '../../src/network/netlink/attributes.js';
import { decodeAddress } from '../../src/network/netlink/ip-addresses.js';
import { addMacvlan, addVxlan } from '../../src/network/netlink/link-kinds.js';
import { changeLink, decodeLink, findLink, listLinks } from '../../src/network/netlink/links.js';
import { decodeDatagram } from '../../src/network/netlink/message.js';
import {
  decodeNeighbour,
  listNeighbours,
  removeNeighbour,
  setNeighbour,
} from '../../src/network/netlink/neighbours.js';
import { decodeRoute } from '../../src/network/netlink/routes.js';
import { NetlinkTransport, type TransportOptions } from '../../src/network/netlink/transport.js';
import { eventfd, read } from '../ffi/eventfd.js';
import { insidePath, NetLab } from './lab.js';

const purpose = { action: 'cannot test', object: 'netlink' };
const options = { purpose };

function setUp(t: Test, name: string, more: TransportOptions = {}) {
  const lab = new NetLab(name);
  t.teardown(() => lab.remove());
  lab.addHost('h1', 1);
  const path = lab.path('h1');
  const netlink = inNetworkNamespace(path, () => new NetlinkTransport(more));
  t.teardown(() => netlink.close());
  return { lab, path, netlink };
}

test('a refusal carries the code, the errno and the words of the kernel', async (t) => {
  const { netlink, path } = setUp(t, 'refuse');
  const base = { name: 'x1', mtu: 1500, group: 0, namespaceFd: 0 };
  const namespaceFd = openSync(path, 'r');
  t.teardown(() => closeSync(namespaceFd));
  const vxlan = { ...base, namespaceFd, local: '10.66.0.1', underlayIndex: 0, port: 4789 };
  const refused = addVxlan(netlink, { ...vxlan, vni: 1 << 30 }, options);
  await t.rejects(refused, {
    code: 'US_NET_REFUSED',
    errnoName: 'ERANGE',
    reason: 'the kernel says: VXLAN ID must be lower than 16777216 (ERANGE)',
    action: purpose.action,
  });
  await addVxlan(netlink, { ...vxlan, vni: 7 }, options);
  await t.rejects(addVxlan(netlink, { ...vxlan, name: 'x2', vni: 7 }, options), {
    code: 'US_NET_EXISTS',
    reason: /A VXLAN device with the specified VNI already exists/,
  });
  const mac = '02:00:5e:00:00:01';
  const macvlan = { ...base, namespaceFd, name: 'm1', parentIndex: 4711, mac };
  await t.rejects(addMacvlan(netlink, macvlan, options), { code: 'US_NET_NO_PARENT' });
  t.equal(await findLink(netlink, 'nosuch', options), undefined);
});

test('dropped answers fail what waits, and nothing after it', async (t) => {
  // Room for a handful of acknowledgements.
  const { netlink, path } = setUp(t, 'overflow', { receiveBufferBytes: 4_096, window: 1_000 });
  const link = await findLink(netlink, 'eth1', options);
  if (link === undefined) throw new Error('no eth1');
  const neighbours = Array.from({ length: 600 }, (_, index) => ({
    linkIndex: link.index,
    address: `10.66.${1 + (index >> 8)}.${index & 255}`,
    mac: '02:00:5e:00:00:01',
  }));
  const made = async (from: NetlinkTransport) =>
    (await listNeighbours(from, options)).filter(({ mac }) => mac === '02:00:5e:00:00:01').length;
  const results = await Promise.allSettled(
    neighbours.map((neighbour) => setNeighbour(netlink, neighbour, options)),
  );
  const lost = results.filter(({ status }) => status === 'rejected');
  t.ok(lost.length > 0, `${lost.length} of ${results.length} answers lost`);
  t.ok(
    lost.every(
      (result) => result.status === 'rejected' && result.reason.code === 'US_NET_OVERFLOW',
    ),
  );
  t.equal((await findLink(netlink, 'eth1', options))?.name, 'eth1', 'the socket goes on');
  t.equal(await made(netlink), 600, 'the lost ones were carried out');

  const usual = inNetworkNamespace(path, () => new NetlinkTransport());
  t.teardown(() => usual.close());
  await Promise.all(neighbours.map((neighbour) => setNeighbour(usual, neighbour, options)));
  t.pass('600 at once are nothing for the usual window and buffer');
  const [first] = neighbours;
  if (first !== undefined) await removeNeighbour(usual, first, options);
  if (first !== undefined) await removeNeighbour(usual, first, options);
  t.equal(await made(usual), 599);
});

test('several lists at once come one after another', async (t) => {
  const { netlink } = setUp(t, 'lists');
  const lists = await Promise.all(Array.from({ length: 5 }, () => listLinks(netlink, options)));
  for (const list of lists) t.ok(list.some(({ name }) => name === 'eth1'));
});

test('a request without an answer in time fails, and its late answer disturbs nobody', async (t) => {
  const { netlink, path } = setUp(t, 'late', { timeoutMs: 200 });
  const link = await findLink(netlink, 'eth1', options);
  const release = occupyThreads(t);
  const change = changeRequestOf(link?.index ?? 0, 1_400);
  await t.rejects(netlink.request(change, { purpose, slow: true }), { code: 'US_NET_TIMEOUT' });
  await release();
  // Behind the late one in the pool.
  await netlink.request(changeRequestOf(link?.index ?? 0, 1_450), { purpose, slow: true });
  t.match(insidePath(path, 'ip -o link show dev eth1'), 'mtu 1450');
});

test('a closed transport waits for its other thread before it gives the descriptor back', async (t) => {
  const { netlink } = setUp(t, 'closing');
  const change = changeRequestOf((await findLink(netlink, 'eth1', options))?.index ?? 0, 1_400);
  const release = occupyThreads(t);
  const sent = netlink.request(change, { purpose, slow: true });
  await new Promise<void>((resolve) => queueMicrotask(resolve));
  netlink.close();
  await t.rejects(sent, { code: 'US_NET_CLOSED' });
  await t.rejects(netlink.request(change, options), { code: 'US_NET_CLOSED' });
  t.throws(() => netlink.requestNow(change, purpose), { code: 'US_NET_CLOSED' });
  await release();
});

test('what was called off is not sent any more', async (t) => {
  const { netlink } = setUp(t, 'abort');
  const link = await findLink(netlink, 'eth1', options);
  const stop = new AbortController();
  const change = changeLink(
    netlink,
    link?.index ?? 0,
    { mtu: 1_300 },
    { purpose, signal: stop.signal },
  );
  stop.abort();
  await t.rejects(change, { code: 'US_NET_ABORTED' });
  await t.rejects(listLinks(netlink, { purpose, signal: stop.signal }), {
    code: 'US_NET_ABORTED',
  });
  t.equal((await findLink(netlink, 'eth1', options))?.mtu, 1_600);
});

test('attributes are read as they were written, and never beyond their end', (t) => {
  const written = Buffer.concat([u32(4, 1500), text(3, 'eth0'), nested(18, text(1, 'macvlan'))]);
  const read = new Attributes(written);
  t.equal(read.u32(4), 1500);
  t.equal(read.text(3), 'eth0');
  t.equal(read.nested(18)?.text(1), 'macvlan');
  t.equal(read.u32(99), undefined);
  t.throws(() => new Attributes(Buffer.from('ff000100', 'hex')), MalformedMessage);
  t.throws(() => new Attributes(text(4, '')).u32(4), MalformedMessage);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      for (const decode of [
        decodeDatagram,
        decodeLink,
        decodeAddress,
        decodeRoute,
        decodeNeighbour,
        (whole: Buffer) => new Attributes(whole),
      ]) {
        try {
          decode(buffer);
        } catch (thrown) {
          if (!(thrown instanceof MalformedMessage)) throw thrown;
        }
      }
    }),
  );
  t.end();
});

/**
 * Keeps all four threads of libuv's pool busy until they are released: what is sent off this thread has
 * to wait. Each reads from an event counter that nobody has raised (eventfd(2)).
 */
function occupyThreads(t: Test): () => Promise<void> {
  const semaphore = 1;
  const fd = eventfd(0, semaphore) as number;
  const threads = 4;
  const reads = Array.from({ length: threads }, () => offThread(read, fd, Buffer.alloc(8), 8));
  let released: Promise<void> | undefined;
  const release = async () => {
    const count = Buffer.alloc(8);
    count.writeBigUInt64LE(BigInt(threads));
    writeSync(fd, count);
    await Promise.all(reads);
    closeSync(fd);
  };
  const once = () => {
    released ??= release();
    return released;
  };
  t.teardown(once);
  return once;
}

function changeRequestOf(index: number, mtu: number) {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  return { type: 16, flags: 0, body: Buffer.concat([header, u32(4, mtu)]) };
}
