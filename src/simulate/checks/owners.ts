import type { Check, CheckParts } from './check.js';
import { presences, writers } from './roles.js';

/**
 * At most one host per role whose frames pass, and at most one whose writes are accepted; neither
 * ever of an older epoch than was seen before, nor of an incarnation that was retired.
 *
 * Frames begin to pass, and writes to be accepted, only when something changes in a kernel or at the
 * target; so looking after each such change misses no instant.
 */
export function owners({ world, roles, store, violated }: CheckParts): Check {
  const newestFrames = new Map<string, number>();
  const newestWrites = new Map<string, number>();
  const lookAtFrames = (role: string, mac: string): void => {
    const there = presences(world, mac);
    if (new Set(there.map(({ host }) => host)).size > 1) {
      violated('one-owner', `${role} is on ${there.map(({ host }) => host).join(' and ')}`);
    }
    for (const { host, incarnation, epoch } of there) {
      const newest = newestFrames.get(mac) ?? 0;
      if (epoch < newest) {
        violated('epoch-forward', `${role} on ${host} has epoch ${epoch} after ${newest}`);
      }
      newestFrames.set(mac, Math.max(newest, epoch));
      if (store.retired.has(`${host}/${incarnation}`)) {
        violated('retired-for-good', `${role} is on ${host}/${incarnation}, which was retired`);
      }
    }
  };
  const lookAtWrites = (role: string, target: string): void => {
    const there = writers(world, target);
    if (there.length > 1) {
      const hosts = there.map(({ host, epoch }) => `${host} (epoch ${epoch})`);
      violated('one-writer', `${role}: ${hosts.join(' and ')} may write to ${target}`);
    }
    for (const { host, epoch } of there) {
      const newest = newestWrites.get(target) ?? 0;
      if (epoch < newest) {
        violated('epoch-forward', `${host} may write as epoch ${epoch} of ${role} after ${newest}`);
      }
      newestWrites.set(target, Math.max(newest, epoch));
    }
  };
  const look = () => {
    for (const { id, macs, targets } of roles) {
      for (const mac of macs) lookAtFrames(id, mac);
      for (const target of targets) lookAtWrites(id, target);
    }
  };
  return {
    look,
    // Bytes that were read before an older epoch's last write would be the wrong ones.
    read: (target, _host, epoch) => {
      newestWrites.set(target, Math.max(newestWrites.get(target) ?? 0, epoch));
      look();
    },
  };
}
