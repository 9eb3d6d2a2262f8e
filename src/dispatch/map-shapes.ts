import { type MapShape, mapType } from '../ffi/bpf-map.js';
import { countWords, trafficWords } from './counters.js';
import { flowGroupBytes, flowGroups } from './flow-words.js';
import { mostGroups } from './layout.js';
import { notesBytes } from './notes.js';
import { ringBytes } from './ring-bytes.js';
import { groupPlaces, mostServices, stateBytes } from './state-bytes.js';

const array = (valueBytes: number, maxEntries: number): MapShape => ({
  type: mapType.array,
  keyBytes: 4,
  valueBytes,
  maxEntries,
});

const perCpu = (valueBytes: number, maxEntries: number): MapShape => ({
  ...array(valueBytes, maxEntries),
  type: mapType.perCpuArray,
});

/** Maps that outlive a process: native/dispatch.h, flows.h, tick.h, scratch.h. */
export const shapes = {
  'dispatch.bss': array(2 * stateBytes, 1),
  '.data.active': array(4, 1),
  '.data.clock': array(16, 1),
  dispatch_notes: array(notesBytes, 2),
  dispatch_flows: array(flowGroupBytes, flowGroups),
  dispatch_rings: { ...array(4, 256), type: mapType.arrayOfMaps },
  dispatch_traffic: perCpu(groupPlaces * trafficWords * 8, mostGroups),
  dispatch_begun: perCpu(groupPlaces * 8, mostGroups),
  dispatch_counts: perCpu(countWords * 8, mostServices),
  dispatch_scratch: perCpu(40, 1),
} as const satisfies Record<string, MapShape>;

/** What stands in `dispatch_rings`. */
export const ringShape = array(ringBytes, 1);
