/** The pulse daemon with a file in place of the BPF map: `node pulse-process.js CONFIG`. */
import { runPulse } from '../../src/pulse/main.js';
import { openFileLeaseMap } from './file-lease-map.js';

const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
process.once('disconnect', () => stop.abort()); // the test is gone
await runPulse({
  configFile: process.argv[2] ?? '',
  signal: stop.signal,
  loadLeaseMaps: async () => openFileLeaseMap,
});
process.exit(0);
