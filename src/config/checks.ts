import { checkAddresses, checkMacs } from './address-checks.js';
import type { Fault } from './faults.js';
import {
  checkControllers,
  checkHosts,
  checkNames,
  checkStore,
  checkTiming,
} from './host-checks.js';
import { checkLab } from './lab-checks.js';
import { checkNetworks } from './network-checks.js';
import { checkPersonalities } from './personality-checks.js';
import type { ClusterFile } from './schema.js';
import { checkServices } from './service-checks.js';
import { checkStorageMaps, checkVolumes } from './storage-checks.js';

/** What needs two places of the file: references, doubles, ranges. One small function each. */
export function checkClusterFile(file: ClusterFile): readonly Fault[] {
  return [
    ...checkNames(file),
    ...checkControllers(file),
    ...checkTiming(file),
    ...checkStore(file),
    ...checkHosts(file),
    ...checkNetworks(file),
    ...checkVolumes(file),
    ...checkPersonalities(file),
    ...checkStorageMaps(file),
    ...checkAddresses(file),
    ...checkMacs(file),
    ...checkServices(file),
    ...checkLab(file),
  ];
}
