import { test } from 'tap';
import { anyPieceOfText, anyValueAnywhere, noClusterFile } from './parse-properties.js';

// Drawn anew each time; test/soak/parse.test.ts draws many more.

test('a valid file with any value put anywhere gives a configuration or problems', (t) => {
  anyValueAnywhere(100);
  t.end();
});

test('a valid file with any piece of text cut, doubled or put in gives one too', (t) => {
  anyPieceOfText(100);
  t.end();
});

test('what is no cluster file at all gives one too', (t) => {
  noClusterFile(200);
  t.end();
});
