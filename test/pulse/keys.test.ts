import { randomBytes } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { Counters } from '../../src/pulse/counters.js';
import { ClusterKeys, keyName, readClusterKeys, splitKeys } from '../../src/pulse/keys.js';
import { encodePacket } from '../../src/pulse/packet.js';
import { UdpWire } from '../../src/pulse/udp-wire.js';

const [old, young, other] = ['o', 'y', 'x'].map((letter) => letter.repeat(44));

test('the cluster key', async (t) => {
  const file = join(t.testdir(), 'cluster.key');
  writeFileSync(file, `${old}\n`, { mode: 0o600 });
  t.same(readClusterKeys(file).map(String), [old], 'without the line end');
  for (const mode of [0o640, 0o604, 0o660, 0o644]) {
    chmodSync(file, mode);
    t.throws(() => readClusterKeys(file), { code: 'US_PULSE_KEY_MODE' }, mode.toString(8));
  }
  chmodSync(file, 0o400);
  t.ok(readClusterKeys(file));
  chmodSync(file, 0o600);
  for (const wrong of ['short\n', '', `${old}\n${young}\n${other}\n`]) {
    writeFileSync(file, wrong);
    t.throws(() => readClusterKeys(file), { code: 'US_PULSE_KEY' }, JSON.stringify(wrong));
  }
  t.throws(() => readClusterKeys(`${file}.none`), { code: 'US_PULSE_KEY' });
});

test('a key a line; random bytes are one key, whatever is in them', (t) => {
  t.same(splitKeys(Buffer.from(`${young}\r\n${old}\n\n`)).map(String), [young, old]);
  t.equal(splitKeys(Buffer.from(`${old}\nshort`)).length, 1, 'a line that is no key of its own');
  t.equal(splitKeys(Buffer.from(`${old}\n${'a b '.repeat(20)}`)).length, 1);
  for (let round = 0; round < 200; round++) {
    const bytes = randomBytes(256);
    t.ok(splitKeys(bytes).length === 1);
  }
  t.end();
});

test('a file that is no good leaves the former keys', (t) => {
  const file = join(t.testdir(), 'cluster.key');
  writeFileSync(file, `${old}\n`, { mode: 0o600 });
  const keys = ClusterKeys.of(file);
  writeFileSync(file, 'short\n');
  t.throws(() => keys.reload(), { code: 'US_PULSE_KEY' });
  t.equal(String(keys.signs), old);
  writeFileSync(file, `${young}\n${old}\n`);
  t.same(
    keys.reload(),
    [young, old].map((key) => keyName(Buffer.from(key ?? ''))),
  );
  t.notMatch(keys.names.join(), /y{3}|o{3}/, 'a name tells nothing of its key');
  t.end();
});

test('packets by either key are taken, and those by another refused', (t) => {
  const counters = new Counters();
  const keys = new ClusterKeys(() => [Buffer.from(young ?? ''), Buffer.from(old ?? '')]);
  const config = { bind: '127.0.0.1', port: 7411, keyFile: '', socket: '', realtime: false };
  let taken = 0;
  const receive = () => {
    taken += 1;
  };
  const wire = new UdpWire(config, keys, { counters, receive });
  const by = (key = '') =>
    encodePacket(
      {
        ...{ type: 'heartbeat', sender: 'h', receiver: 'c', incarnation: 1, nonce: '0'.repeat(32) },
        ...{ seq: 1n, sentAtNs: 1n, ackId: 0n, leaseNs: 0n },
      } as Parameters<typeof encodePacket>[0],
      Buffer.from(key),
    );
  for (const key of [young, old, other]) wire.receive(by(key));
  wire.receive(Buffer.from('nonsense'));
  t.equal(taken, 2);
  t.same(counters.toJSON(), { 'by-other-key': 1, forged: 1, malformed: 1, received: 4 });
  t.end();
});
