import type { HostFacts, UnderlayFacts } from './facts.js';
import { type Check, type Finding, notApplicable, ok, problem, warning } from './types.js';

/** Outer Ethernet is not counted; IP, UDP, VXLAN and the inner Ethernet header are (RFC 7348). */
const vxlanBytes = { ipv4: 50, ipv6: 70 };

/** Drivers of NICs that a hypervisor or cloud stands behind, which may drop what has a MAC of ours. */
const filtered: Readonly<Record<string, string>> = {
  vmxnet3: 'VMware: accept MAC changes and forged transmits on the port group, with MAC learning',
  hv_netvsc: 'Hyper-V: enable MAC address spoofing for this adapter',
  virtio_net:
    'libvirt: no clean-traffic or no-mac-spoofing filter on this interface; a cloud: fabric vxlan',
  ena: 'AWS drops foreign MACs: fabric vxlan only',
  gve: 'Google Cloud drops foreign MACs: fabric vxlan only',
  mana: 'Azure drops foreign MACs: fabric vxlan only',
};

/** Sysctls and the NIC of the internal network. */
export const networkChecks: readonly Check<HostFacts>[] = [
  {
    id: 'sysctl-rp-filter',
    title: 'reverse path filter',
    judge: ({ sysctls, network }) => {
      const name = network.underlay?.name;
      const all = sysctls['net.ipv4.conf.all.rp_filter'] ?? '0';
      const own = name === undefined ? '0' : (sysctls[`net.ipv4.conf.${name}.rp_filter`] ?? '0');
      const value = Math.max(Number(all), Number(own));
      if (value !== 1) return ok(`rp_filter ${value}`);
      return warning(
        `rp_filter 1 (strict)${name === undefined ? '' : ` on ${name}`}: heartbeats are dropped where the way back is another NIC`,
        'sysctl net.ipv4.conf.all.rp_filter=2, unless every host has one way to each other',
      );
    },
  },
  {
    id: 'sysctl-arp',
    title: 'ARP manners',
    judge: ({ sysctls, network: { sharedSubnets } }) => {
      const ignore = sysctls['net.ipv4.conf.all.arp_ignore'] ?? '0';
      const announce = sysctls['net.ipv4.conf.all.arp_announce'] ?? '0';
      const saw = `arp_ignore ${ignore}, arp_announce ${announce}`;
      if (sharedSubnets.length === 0 || ignore !== '0') return ok(`${saw}; no subnet on two NICs`);
      return warning(
        `${saw}, and ${sharedSubnets.join('; ')}: each NIC answers for the other's address`,
        'sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, or a subnet a NIC',
      );
    },
  },
  {
    id: 'sysctl-bpf-jit',
    title: 'BPF compiler',
    judge: ({ sysctls }) => {
      const value = sysctls['net.core.bpf_jit_enable'];
      if (value === undefined) return notApplicable('this kernel has no net.core.bpf_jit_enable');
      return value === '0'
        ? warning(
            'BPF is interpreted: each packet costs several times more',
            'sysctl net.core.bpf_jit_enable=1',
          )
        : ok(`net.core.bpf_jit_enable ${value}`);
    },
  },
  {
    id: 'nic-underlay',
    title: 'internal NIC',
    judge: ({ network }) =>
      withNic(network.underlay, ({ name, up, addresses, wanted }) => {
        if (!up) return problem(`${name} is down`, `ip link set ${name} up, and at boot`);
        if (!addresses.includes(wanted)) {
          return problem(
            `${name} has ${addresses.join(', ') || 'no address'}, not ${wanted}`,
            'correct underlayAddress in agent.yaml, or the address of the NIC',
          );
        }
        return ok(`${name} is up and has ${wanted}`);
      }),
  },
  {
    id: 'nic-mtu',
    title: 'MTU of the internal NIC',
    judge: ({ network, needs }) =>
      withNic(network.underlay, ({ name, mtu, wanted }) => {
        const overhead = wanted.includes(':') ? vxlanBytes.ipv6 : vxlanBytes.ipv4;
        const vxlan = needs.fabrics === undefined || needs.fabrics.includes('vxlan');
        const inner = needs.mtu ?? 1_500;
        const needed = inner + (vxlan ? overhead : 0);
        const saw = `${name} carries ${mtu} bytes, ${needed} are needed`;
        if (mtu >= needed) return ok(saw);
        const remedy = `ip link set ${name} mtu ${needed}, on the switch too; or mtu: ${mtu - overhead} for the networks`;
        return needs.fabrics === undefined
          ? warning(`${saw} for VXLAN`, remedy)
          : problem(saw, remedy);
      }),
  },
  {
    id: 'nic-mac-filter',
    title: 'filters of foreign MACs',
    judge: ({ network, needs }) =>
      withNic(network.underlay, ({ name, driver }) => {
        const known = filtered[driver];
        const saw = `${name} is driven by ${driver || 'something unknown'}`;
        if (known === undefined) return ok(`${saw}: no filter is known of it`);
        const onWire = needs.fabrics?.some((fabric) => fabric !== 'vxlan') ?? false;
        return onWire
          ? warning(
              `${saw}: a hypervisor may drop frames of vMACs, and nothing here can see it`,
              known,
            )
          : notApplicable(`${saw}; under VXLAN only the NIC's own MAC is on the wire`);
      }),
  },
  {
    id: 'nic-checksums',
    title: 'checksum offload',
    judge: ({ network }) =>
      withNic(network.underlay, ({ name, driver, offloads: { txChecksum } }) => {
        if (txChecksum === undefined) return notApplicable(`${name} does not say`);
        if (driver !== 'veth' || !txChecksum)
          return ok(`tx checksums ${txChecksum ? 'offloaded' : 'in software'}`);
        return warning(
          `${name} is a veth and leaves checksums to hardware that is not there: captures and redirects see wrong ones`,
          `ethtool -K ${name} tx off`,
        );
      }),
  },
  {
    id: 'nic-vlan-offload',
    title: 'VLAN offload',
    judge: ({ network, needs }) =>
      withNic(network.underlay, ({ name, offloads: { vlan } }) => {
        if (needs.fabrics?.includes('vlan') === false)
          return notApplicable('no network of fabric vlan');
        if (vlan === undefined) return notApplicable(`${name} does not say`);
        return ok(`tags are ${vlan ? 'handled by the NIC' : 'handled in software'}; either works`);
      }),
  },
  {
    id: 'nic-lro',
    title: 'large receive offload',
    judge: ({ network }) =>
      withNic(network.underlay, ({ name, offloads: { largeReceive } }) => {
        if (largeReceive === undefined) return notApplicable(`${name} does not say`);
        return largeReceive
          ? problem(
              `${name} merges packets for good (LRO): what is forwarded to a member comes out wrong`,
              `ethtool -K ${name} lro off, at boot too`,
            )
          : ok('off');
      }),
  },
];

function withNic(nic: UnderlayFacts | undefined, judge: (nic: UnderlayFacts) => Finding): Finding {
  if (nic === undefined) return notApplicable('no agent configuration names the internal NIC');
  if (nic.there) return judge(nic);
  return problem(
    `there is no NIC ${nic.name}`,
    'correct underlayInterface in agent.yaml, or see why the NIC is missing',
  );
}
