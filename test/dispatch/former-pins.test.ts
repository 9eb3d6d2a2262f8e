import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { pinFolder } from '../../src/bpf/place.js';
import { DataPlane } from '../../src/dispatch/data-plane.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { closeFd, createMap, mapType, pin } from '../../src/ffi/bpf-map.js';
import { ownBpffs, quiet } from '../bpf-place.js';

test('what former versions pinned is taken away, what others did stays', async (t) => {
  const place = ownBpffs(t);
  const folder = pinFolder(place, 'dispatch');
  const guard = new BpfGuard({ ...place, log: quiet });
  const lease = openLeaseMap(guard.prepare(1));
  t.teardown(() => {
    lease.close();
    guard.close();
  });
  const pinned = (...names: readonly string[]) => {
    for (const name of names) {
      const fd = createMap('former', {
        type: mapType.array,
        keyBytes: 4,
        valueBytes: 4,
        maxEntries: 1,
      });
      pin(fd, join(folder, name));
      closeFd(fd);
    }
  };
  mkdirSync(join(folder, '..', 'dispatch-web'));
  pinned(
    'dispatch_states',
    'xdp-eth1',
    '../dispatch-mail',
    '../dispatch-web/ring',
    '../guard-other',
  );
  new DataPlane(place, 1).close();
  const names = readdirSync(folder);
  t.notOk(names.includes('dispatch_states'));
  t.ok(names.includes('xdp-eth1') && names.includes('dispatch_flows'));
  const top = readdirSync(join(folder, '..'));
  t.same(
    top.filter((name) => name.startsWith('dispatch-')),
    [],
  );
  t.ok(top.includes('guard-other'));
});
