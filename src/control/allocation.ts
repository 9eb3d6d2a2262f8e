import { sharedName } from '../config/dispatchers.js';
import type { ClusterConfig } from '../config/types.js';
import type { AllocationRecord } from './records.js';

/** Deterministic bytes of a text: a hash handed in, so that nothing here depends on a library. */
export type Digest = (text: string) => Uint8Array;

/**
 * Fills in every vMAC and dispatch seed that the file leaves open. What was allocated once stays,
 * also for holders that have left the file: a neighbour may still know the old MAC.
 *
 * vMACs are locally administered unicast (IEEE 802: second-least bit of the first byte set, least
 * bit clear), derived from cluster and holder; a clash moves on to the next candidate.
 */
export function allocate(
  config: ClusterConfig,
  before: AllocationRecord | undefined,
  digest: Digest,
  randomHex: (bytes: number) => string,
): { config: ClusterConfig; allocation: AllocationRecord } {
  const macs: Record<string, string> = { ...before?.macs };
  const seeds: Record<string, string> = { ...before?.seeds };
  const used = new Set([...Object.values(macs), ...givenMacs(config)]);
  const macFor = (holder: string, given: string): string => {
    if (given !== '') return given;
    const known = macs[holder];
    if (known !== undefined) return known;
    for (let attempt = 0; ; attempt++) {
      const mac = macOf(digest(`${config.cluster}/${holder}/${attempt}`));
      if (used.has(mac)) continue;
      used.add(mac);
      macs[holder] = mac;
      return mac;
    }
  };
  const personalities = config.personalities.map((personality) => ({
    ...personality,
    networks: personality.networks.map((nic) => ({
      ...nic,
      mac: macFor(`personality/${personality.name}/${nic.network}`, nic.mac),
    })),
  }));
  const services = config.services.map((service) => {
    // Own ones only: `constructor` is a good name for a service, and every object has that.
    const seedName = sharedName(service);
    if (!Object.hasOwn(seeds, seedName)) seeds[seedName] = randomHex(16);
    return { ...service, mac: macFor(`service/${service.name}`, service.mac) };
  });
  return { config: { ...config, personalities, services }, allocation: { macs, seeds } };
}

function givenMacs(config: ClusterConfig): readonly string[] {
  return [
    ...config.personalities.flatMap((personality) => personality.networks.map((nic) => nic.mac)),
    ...config.services.map((service) => service.mac),
  ].filter((mac) => mac !== '');
}

function macOf(bytes: Uint8Array): string {
  const octets = [((bytes[0] ?? 0) & 0xfc) | 0x02, ...bytes.slice(1, 6)];
  return octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}
