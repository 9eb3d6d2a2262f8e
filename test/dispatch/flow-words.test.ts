import fc from 'fast-check';
import { test } from 'tap';
import {
  changedFlows,
  flowBytes,
  mergeFlows,
  mostFlows,
  noFlows,
  takeFlows,
} from '../../src/dispatch/flow-words.js';

const [present, confirmed, timeBits] = [0x8000, 0x4000, 0x3fff];
const time = 5_000;

interface Flow {
  readonly bucket: number;
  readonly way: number;
  readonly tag: number;
  readonly id: number;
  readonly age: number;
  readonly confirmed: boolean;
}

/** Few buckets and tags, so that they meet. */
const flow = (ids: number) =>
  fc.record({
    bucket: fc.integer({ min: 65_534, max: 65_535 }),
    way: fc.integer({ min: 0, max: 3 }),
    tag: fc.integer({ min: 1, max: 6 }),
    id: fc.integer({ min: 0, max: ids }),
    age: fc.integer({ min: 0, max: 300 }),
    confirmed: fc.boolean(),
  });

function wordsOf(flows: readonly Flow[]): Uint32Array {
  const words = noFlows();
  const taken = new Set<string>();
  for (const one of flows) {
    // A flow stands in one way of its bucket.
    if (taken.has(`${one.bucket} ${one.tag}`)) continue;
    const at = one.bucket * 4 + one.way;
    if (words[at * 2] !== 0) continue;
    taken.add(`${one.bucket} ${one.tag}`);
    const flags = present | (one.confirmed ? confirmed : 0);
    words[at * 2] = (one.tag << 28) | (one.id << 16) | flags | ((time - one.age) & timeBits);
    words[at * 2 + 1] = one.tag * 77;
  }
  return words;
}

interface Read {
  readonly id: number;
  readonly age: number;
  readonly confirmed: boolean;
}

/** By bucket and tag. */
function read(words: Uint32Array): Map<string, Read> {
  const found = new Map<string, Read>();
  for (let at = 65_534 * 4; at < mostFlows; at += 1) {
    const low = words[at * 2] ?? 0;
    if ((low & present) === 0) continue;
    found.set(`${at >>> 2} ${low >>> 28}`, {
      id: (low >>> 16) & 0xfff,
      age: (time - low) & timeBits,
      confirmed: (low & confirmed) !== 0,
    });
  }
  return found;
}

test('merged records: the younger one of a flow stays, nobody’s is taken, what is worth more is never driven out', (t) => {
  const idOf = new Int16Array(4096).fill(-1);
  // Theirs 0 and 1 are 10 and 11 here; 2 keeps no flow.
  idOf.set([10, 11]);
  fc.assert(
    fc.property(fc.array(flow(2)), fc.array(flow(3)), (others, own) => {
      const words = wordsOf(own);
      const theirs = wordsOf(others);
      const [before, told] = [read(words), read(theirs)];
      const added = mergeFlows(words, theirs, idOf, time);
      const after = read(words);
      for (const [key, now] of after) {
        const [was, new_] = [before.get(key), told.get(key)];
        const usable = new_?.confirmed === true && new_.id < 2 ? new_ : undefined;
        const isTheirs =
          usable !== undefined && now.id === usable.id + 10 && now.age === usable.age;
        const isOwn = was !== undefined && now.id === was.id && now.age === was.age;
        if (!isTheirs && !isOwn) return false;
        // An older one never replaces a younger one, nor stays in its place.
        if (was && usable && now.age !== Math.min(was.age, usable.age)) return false;
      }
      for (const [key, was] of before) {
        if (after.has(key) || !was.confirmed) continue;
        // Confirmed and gone: whoever is in its bucket now is as young or younger.
        const inBucket = [...after].filter(([other]) => other.split(' ')[0] === key.split(' ')[0]);
        if (inBucket.length < 4 || inBucket.some(([, now]) => now.age > was.age)) return false;
      }
      return added <= told.size;
    }),
    { numRuns: 200 },
  );
  t.end();
});

/** From the other clock to this one. */
const moved = (low: number) => ((low & ~timeBits) | ((low - 16_000 + time) & timeBits)) >>> 0;

test('told in parts and on a clock of its own, another host has the same records', (t) => {
  fc.assert(
    fc.property(fc.array(flow(9)), fc.integer({ min: 1, max: 3 }), (flows, most) => {
      const words = wordsOf(flows);
      const [sent, there] = [noFlows(), noFlows()];
      let from = 0;
      for (let parts = 0; parts < 12; parts += 1) {
        const { bytes, next, all } = changedFlows(words, sent, { from, most, refresh: 4, time });
        if (bytes.length > most * flowBytes) return false;
        takeFlows(there, bytes, 16_000);
        from = next;
        if (all) break;
      }
      const kept = [...read(words)].filter(([, { confirmed: is }]) => is);
      const told = read(there.map((word, at) => (at % 2 === 0 && word ? moved(word) : word)));
      return JSON.stringify(kept) === JSON.stringify([...told]);
    }),
    { numRuns: 30 },
  );
  t.end();
});

test('a flow that goes on is told anew when its time is old there, and only then', (t) => {
  const one = { bucket: 65_534, way: 1, tag: 3, id: 1, age: 100, confirmed: true };
  const sent = noFlows();
  const tell = (age: number) =>
    changedFlows(wordsOf([{ ...one, age }]), sent, { from: 0, most: 9, refresh: 4, time }).bytes
      .length / flowBytes;
  t.same([tell(100), tell(100), tell(97), tell(96), tell(96)], [1, 0, 0, 1, 0]);
  t.end();
});

test('bytes that are no flows are refused whatever they are, and none is written beyond the last', (t) => {
  const words = noFlows();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 5 * flowBytes }), (bytes) => {
      try {
        takeFlows(words, Buffer.from(bytes), time);
        return bytes.length % flowBytes === 0;
      } catch (thrown) {
        return thrown instanceof RangeError;
      }
    }),
  );
  const past = Buffer.alloc(flowBytes);
  past.writeUInt32LE(mostFlows, 0);
  past.writeUInt32LE(present | confirmed, 4);
  t.throws(() => takeFlows(words, past, time), RangeError);
  t.equal(words.length, mostFlows * 2);
  t.end();
});
