import { test } from 'tap';
import { anyPieceOfText, anyValueAnywhere, noClusterFile } from '../config/parse-properties.js';

test('thousands of files that are nearly good, or no cluster file at all, get a configuration or problems', (t) => {
  anyValueAnywhere(4_000);
  anyPieceOfText(4_000);
  noClusterFile(4_000);
  t.end();
});
