import type { ClusterConfig } from '../../src/config/types.js';
import { clusterConfig } from '../control/world.js';

/** Of volumes and personalities only what masks depend on. */
export function configWith(
  volumes: Readonly<Record<string, string>>,
  personalities: Readonly<Record<string, readonly string[]>>,
): ClusterConfig {
  return {
    ...clusterConfig({ services: [] }),
    cluster: 'test',
    // LUNs of a target are numbered from 1.
    volumes: Object.entries(volumes).map(([name, target], at, all) => ({
      name,
      target,
      lun: all.slice(0, at + 1).filter(([, other]) => other === target).length,
    })),
    personalities: Object.entries(personalities).map(([name, storage]) => ({
      name,
      storage: storage.map((volume, lun) => ({ lun, volume, mount: '/srv' })),
    })),
  } as unknown as ClusterConfig;
}
