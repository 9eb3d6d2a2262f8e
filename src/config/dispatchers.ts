import type { ServiceConfig } from './types.js';

/**
 * The service's name in the file. Its dispatchers, where several are at work at once, are services of their own
 * here, each with a host, a vMAC and next hops. What decides where a flow goes they have in common by this
 * name: the secret seed, and what health checks of members say.
 */
export function sharedName({ name, group = name }: Pick<ServiceConfig, 'name' | 'group'>): string {
  return group;
}

/** How the one at this place of `dispatchers` is called. */
export function dispatcherName(service: string, at: number): string {
  return `${service}-${at + 1}`;
}
