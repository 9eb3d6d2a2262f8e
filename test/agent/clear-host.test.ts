import { test } from 'tap';
import { clearHost } from '../../src/agent/clear-host.js';
import type { ObservedNamespace } from '../../src/network/types.js';
import type { AttachedVolume } from '../../src/storage/types.js';
import type { ObservedWorkload } from '../../src/workload/types.js';
import { IdleNetwork, IdleStorage, IdleWorkload } from './idle-adapters.js';

const { signal } = new AbortController();
const workload: ObservedWorkload = {
  personality: 'web1',
  epoch: 1,
  kind: 'command',
  state: 'running',
  pid: 7,
  restarts: 0,
  lastEnd: '',
};
const volume: AttachedVolume = {
  personality: 'web1',
  lun: 0,
  volume: 'web1-data',
  epoch: 1,
  device: '/dev/loop0',
  hostMount: '/run/understudy/web1/0',
  serial: '6001405ab3',
  sizeBytes: 1,
};

/** A host with one role; what is done to it, in order. */
function host({ busy = false } = {}) {
  const done: string[] = [];
  class Workload extends IdleWorkload {
    override observe = async () => [workload];
    override remove = async (name: string) => void done.push(`end ${name}`);
  }
  class Storage extends IdleStorage {
    override observe = async () => [volume];
    override detach = async () => {
      if (busy) throw new Error('busy');
      done.push('detach web1/0');
    };
  }
  class Network extends IdleNetwork {
    override observe = async () => [{ name: 'web1' } as ObservedNamespace];
    override observeNetworks = async () => ['blue'];
    override removeNamespace = async (name: string) => void done.push(`namespace ${name}`);
    override removeNetwork = async (name: string) => void done.push(`network ${name}`);
    override stop = async () => void done.push('stop');
  }
  const parts = {
    workload: new Workload(),
    storage: new Storage(),
    network: new Network(),
    removePeerFilter: () => void done.push('filter'),
  };
  return { parts, done };
}

test('a host is cleared as at a shutdown: workload, volume, networks', async (t) => {
  const { parts, done } = host();
  t.strictSame(await clearHost(parts, signal), {
    workloads: ['web1'],
    volumes: ['web1/0'],
    namespaces: ['web1'],
    networks: ['blue'],
  });
  t.strictSame(done, [
    'end web1',
    'detach web1/0',
    'namespace web1',
    'network blue',
    'filter',
    'stop',
  ]);
});

test('a volume that cannot be written back keeps its networks', async (t) => {
  const { parts, done } = host({ busy: true });
  await t.rejects(clearHost(parts, signal), /busy/);
  t.strictSame(done, ['end web1', 'stop']);
});
