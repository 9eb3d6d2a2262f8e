import { closeSync, existsSync, openSync } from 'node:fs';
import { release } from 'node:os';
import { messageOf, UnderstudyError } from '../errors.js';
import { isBpfFilesystem } from '../ffi/bpf-map.js';
import { loadTrivialProgram, programType } from '../ffi/bpf-probe.js';
import { inNewNamespace } from '../ffi/namespace-mount.js';
import { addMacvlan, addVlan, addVxlan } from '../network/netlink/link-kinds.js';
import { findLink } from '../network/netlink/links.js';
import { NetlinkTransport } from '../network/netlink/transport.js';
import { initiatorMissing } from '../storage/backend.js';
import { hasModule } from '../storage/kernel-modules.js';
import type { KernelFacts, Trouble } from './facts.js';
import { multipathdClaims } from './multipathd.js';

const loopback = 1;
const purpose = { action: 'cannot try', object: 'a device' };

/** What this kernel can do, asked by doing it where it disturbs nobody. */
export async function gatherKernel(
  bpffs: string,
  storageBackend: KernelFacts['initiator']['wanted'],
): Promise<KernelFacts> {
  return {
    release: release(),
    ...(await tryDevices()),
    tc: attempt(() => loadTrivialProgram(programType.tc)),
    xdp: attempt(() => loadTrivialProgram(programType.xdp)),
    fuse: device('/dev/fuse'),
    loop: device('/dev/loop-control'),
    bpffs: { path: bpffs, mounted: existsSync(bpffs) && isBpfFilesystem(bpffs) },
    modules: { iscsi_tcp: hasModule('iscsi_tcp'), dm_multipath: hasModule('dm_multipath') },
    multipathd: multipathdClaims(),
    initiator: { wanted: storageBackend, missing: initiatorMissing() },
    watchdog: existsSync('/dev/watchdog'),
  };
}

/** Devices in a namespace that ends with its socket; the kernel loads their modules for it. */
async function tryDevices(): Promise<Pick<KernelFacts, 'vxlan' | 'vlan' | 'macvlan'>> {
  let opened: { netlink: NetlinkTransport; namespaceFd: number };
  try {
    opened = inNewNamespace(() => ({
      netlink: new NetlinkTransport(),
      namespaceFd: openSync('/proc/thread-self/ns/net', 'r'),
    }));
  } catch (thrown) {
    const why = `no network namespace can be made: ${messageOf(thrown)}`;
    return { vxlan: why, vlan: why, macvlan: why };
  }
  const { netlink, namespaceFd } = opened;
  const options = { purpose };
  const base = { namespaceFd, mtu: 1_400, group: 0 };
  try {
    const vxlan = await attemptAsync(() =>
      addVxlan(
        netlink,
        {
          ...base,
          name: 'tunnel',
          vni: 1,
          local: '127.0.0.1',
          underlayIndex: loopback,
          port: 4789,
        },
        options,
      ),
    );
    // Something like Ethernet for the others to stand on.
    const ground = await findLink(netlink, 'tunnel', options);
    if (ground === undefined)
      return { vxlan, vlan: 'not tried without VXLAN', macvlan: 'not tried without VXLAN' };
    const parentIndex = ground.index;
    return {
      vxlan,
      vlan: await attemptAsync(() =>
        addVlan(netlink, { ...base, name: 'tagged', parentIndex, vlanId: 1 }, options),
      ),
      macvlan: await attemptAsync(() =>
        addMacvlan(
          netlink,
          { ...base, name: 'nic', parentIndex, mac: '02:00:00:00:00:01' },
          options,
        ),
      ),
    };
  } finally {
    netlink.close();
    closeSync(namespaceFd);
  }
}

function device(path: string): Trouble {
  return attempt(() => closeSync(openSync(path, 'r')));
}

export function attempt(action: () => void): Trouble {
  try {
    action();
    return undefined;
  } catch (thrown) {
    return words(thrown);
  }
}

async function attemptAsync(action: () => Promise<unknown>): Promise<Trouble> {
  try {
    await action();
    return undefined;
  } catch (thrown) {
    return words(thrown);
  }
}

function words(thrown: unknown): string {
  return thrown instanceof UnderstudyError ? thrown.reason : messageOf(thrown);
}
