import { UnderstudyError } from '../errors.js';
import { programInfoById } from '../ffi/bpf.js';
import { closeFd, openPinned, pin } from '../ffi/bpf-map.js';
import { errno, SystemCallError } from '../ffi/libc.js';
import { attachXdp, queryXdp, updateXdp } from '../ffi/xdp.js';
import { atInterface, type InterfacePlace } from './at-interface.js';
import { unpin } from './programs.js';

export interface XdpSpot extends InterfacePlace {
  /** Where the link is pinned: it keeps the program on the NIC, and says later that it is ours. */
  readonly pinPath: string;
}

/**
 * Makes sure that this program runs in the NIC's driver. A program of somebody else's is never touched:
 * a link takes no place that is taken, and what is pinned as ours is changed with no packet in between.
 *
 * @throws {UnderstudyError} US_BPF_TAKEN when there is another program; US_BPF_ATTACH, also where the
 *   driver has no XDP
 */
export function ensureXdp(spot: XdpSpot, programFd: number): 'kept' | 'attached' {
  return inside(spot, (index) => {
    const pinned = openPinned(spot.pinPath);
    if (pinned !== undefined) {
      try {
        updateXdp(pinned, programFd);
        if (queryXdp(index) !== undefined) return 'kept';
      } catch (thrown) {
        if (!isDefunct(thrown)) throw thrown;
      } finally {
        closeFd(pinned);
      }
      // Its NIC is gone, and another has the name.
      unpin(spot.pinPath);
    }
    const there = queryXdp(index);
    if (there !== undefined) throw taken(spot, there);
    const link = attachXdp(index, programFd, 'native');
    try {
      pin(link, spot.pinPath);
    } finally {
      closeFd(link);
    }
    return 'attached';
  });
}

/** Takes our program off, if it is there. Idempotent. */
export function removeXdp({ pinPath }: Pick<XdpSpot, 'pinPath'>): void {
  unpin(pinPath);
}

/** ENOLINK: the kernel has taken the program off, since the NIC went. */
function isDefunct(thrown: unknown): boolean {
  return thrown instanceof SystemCallError && thrown.errno === errno.ENOLINK;
}

function inside<T>(spot: XdpSpot, action: (index: number) => T): T {
  const words = {
    action: 'cannot attach XDP program to',
    object: spot.interfaceName,
    remedy:
      'packets go by tc as well; XDP needs Linux 5.9, a driver that has it and an MTU that it allows',
  };
  return atInterface(spot, words, action);
}

function taken({ interfaceName }: XdpSpot, id: number): UnderstudyError {
  const name = programInfoById(id)?.name ?? '';
  return new UnderstudyError({
    code: 'US_BPF_TAKEN',
    action: 'cannot attach XDP program to',
    object: interfaceName,
    cause: `program ${name} (id ${id}) is there, which is not ours`,
    remedy: `packets go by tc as well; ip link show dev ${interfaceName} shows it`,
  });
}
