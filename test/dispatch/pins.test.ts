import { join } from 'node:path';
import { test } from 'tap';
import { leaseName, openLease } from '../../src/bpf/lease.js';
import { pinFolder } from '../../src/bpf/place.js';
import { loadOnPins, type PinnedMap } from '../../src/bpf/programs.js';
import { shapes } from '../../src/dispatch/map-shapes.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { closeFd, openPinned } from '../../src/ffi/bpf-map.js';
import { ownBpffs, quiet } from '../bpf-place.js';

test('when not all maps can be pinned, none of an earlier program is left beside a new one', (t) => {
  const place = ownBpffs(t);
  const guard = new BpfGuard({ ...place, log: quiet });
  t.teardown(() => guard.close());
  guard.prepare(1);
  const lease = openLease(join(pinFolder(place), leaseName(1)));
  t.teardown(() => closeFd(lease));
  const folder = pinFolder(place, 'dispatch');
  const pinned = ([name, shape]: [string, PinnedMap['shape']], at = folder): PinnedMap => {
    return { name, path: join(at, name.replaceAll('.', '_')), shape };
  };
  const all = Object.entries(shapes);
  const [first, second, third] = all;
  if (first === undefined || second === undefined || third === undefined) throw new Error('three');
  const given = new Map([['lease', lease]]);
  const load = (maps: readonly PinnedMap[]) => loadOnPins(place, 'dispatch', maps, given).object;
  load([pinned(first), pinned(third)]).close();
  t.throws(() => load([pinned(first), pinned(second, join(folder, 'none')), pinned(third)]), {
    code: 'US_BPF_LOAD',
  });
  t.equal(openPinned(pinned(third).path), undefined, 'who ended here would have left a mixture');
  t.end();
});
