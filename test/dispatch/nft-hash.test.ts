import { test } from 'tap';
import { jhash } from '../../src/dispatch/nft-hash.js';

/** include/linux/jhash.h, compiled with a C compiler; words of 4, 8, 12, 16, 20 and 24 bytes 0, 1, 2, … */
test('the hash is the kernel’s', (t) => {
  const bytes = (length: number) => Buffer.from(Array.from({ length }, (_, at) => at));
  t.same(
    [4, 8, 12, 16, 20, 24].map((length) => jhash(bytes(length), 0x1234_5678)),
    [382849216, 630582796, 269597682, 1828930696, 2972809246, 2475573675],
  );
  t.end();
});
