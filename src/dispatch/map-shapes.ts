import { type MapShape, mapType } from '../ffi/bpf-map.js';
import { countWords, trafficWords } from './counters.js';
import { notesBytes } from './notes.js';
import { ringBytes } from './ring-bytes.js';
import { mostServices, stateBytes } from './state-bytes.js';

const array = (valueBytes: number, maxEntries: number): MapShape => ({
  type: mapType.array,
  keyBytes: 4,
  valueBytes,
  maxEntries,
});

/** Maps that outlive a process: native/dispatch.h, flows.h. */
export const shapes = {
  dispatch_states: array(stateBytes, 2),
  dispatch_active: array(4, 1),
  dispatch_notes: array(notesBytes, 2),
  dispatch_flows: array(32, 65_536),
  dispatch_rings: { ...array(4, 256), type: mapType.arrayOfMaps },
  dispatch_traffic: { ...array(trafficWords * 8, 16_384), type: mapType.perCpuArray },
  dispatch_counts: { ...array(countWords * 8, mostServices), type: mapType.perCpuArray },
  dispatch_cpus: { ...array(56, 1), type: mapType.perCpuArray },
} as const satisfies Record<string, MapShape>;

/** What stands in `dispatch_rings`. */
export const ringShape = array(ringBytes, 1);
