import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'tap';
import { collect } from '../../src/lab/shell.js';
import { GuestCapture } from '../../src/observe/guest-capture.js';

test('a capture where output comes at the end: frames are there once it is stopped', async (t) => {
  const name = `guest-capture-${process.pid}`;
  const ip = (...argv: readonly string[]) => spawnSync('ip', argv).status;
  t.equal(ip('netns', 'add', name), 0);
  t.teardown(() => ip('netns', 'delete', name));
  t.equal(ip('-n', name, 'link', 'set', 'lo', 'up'), 0);
  const exec = (_node: string, argv: readonly string[]) =>
    collect(spawn('ip', ['netns', 'exec', name, ...argv]));
  const capture = new GuestCapture({ exec }, 'h1', 'lo', 'icmp');
  await capture.ready;
  await exec('h1', ['ping', '-c', '2', '-i', '0.05', '127.0.0.1']);
  t.equal(capture.frames.length, 0);
  await capture.stop();
  // On lo each packet passes twice: out and in.
  const counts = capture.frames.map(({ seen }) => seen.ip?.protocol);
  t.ok(counts.length >= 4 && counts.every((protocol) => protocol === 1), `${counts.length} frames`);
  await capture.stop();
  const broken = new GuestCapture({ exec }, 'h1', 'nosuch', 'icmp');
  await t.rejects(broken.ready, /tcpdump in h1: .*nosuch/s);
  await broken.stop();
  const files = readdirSync('/run').filter((file) => file.startsWith(`capture-${process.pid}-`));
  t.same(files, [], 'nothing is left of either');
});
