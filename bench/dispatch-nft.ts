import { execFileSync } from 'node:child_process';
import { memberMac } from './bench-plane.js';

/** Whom docs/dispatcher.md compares with, in a network namespace with NIC d0. */
export type Peer = 'nft fwd' | 'nft DNAT';

const members = [0, 1, 2];
const port = 80;
const vip = '10.1.0.0';
/** 64k flows and as many again that are on their way out. */
const mostConnections = 262_144;

const byHash = (values: (member: number) => string) =>
  `jhash ip saddr . tcp sport mod ${members.length} map { ${members.map((at) => `${at} : ${values(at)}`).join(', ')} }`;

/** What a kernel without a program of ours can do before its stack: swap MACs by a hash, send on. */
const fwdRules = `table netdev bench {
  chain in {
    type filter hook ingress device d0 priority 0;
    ip daddr ${vip} tcp dport ${port} ether saddr set 02:00:00:00:00:00 ether daddr set ${byHash(memberMac)} fwd to d0
  }
}`;

/** A load balancer as it is usually written: another address by a hash, remembered by conntrack. */
const dnatRules = `table ip bench {
  chain in {
    type nat hook prerouting priority dstnat;
    ip daddr ${vip} tcp dport ${port} dnat to ${byHash((at) => `10.2.0.${at + 1}`)}
  }
}`;

export function setUpPeer(namespace: string, peer: Peer): void {
  const run = (file: string, args: readonly string[], input?: string) =>
    execFileSync('ip', ['netns', 'exec', namespace, file, ...args], { input });
  if (peer === 'nft fwd') {
    run('nft', ['-f', '-'], fwdRules);
    return;
  }
  // First: it forgets all neighbours.
  run('ip', 'link set d0 address 02:00:00:00:00:00'.split(' '));
  // Clients and members are both behind d0; nobody answers ARP.
  const addresses = ['10.2.0.254/24', `${vip}/32`].map((address) => `addr add ${address} dev d0`);
  const neighbours = members.map(
    (at) => `neigh add 10.2.0.${at + 1} lladdr ${memberMac(at)} dev d0 nud permanent`,
  );
  run(
    'ip',
    ['-batch', '-'],
    `${[...addresses, ...neighbours, 'route add default dev d0'].join('\n')}\n`,
  );
  const settings = {
    'net.ipv4.ip_forward': 1,
    'net.ipv4.conf.all.rp_filter': 0,
    'net.ipv4.conf.d0.rp_filter': 0,
    'net.ipv4.conf.d0.send_redirects': 0,
    'net.ipv4.conf.all.send_redirects': 0,
  };
  run('sysctl', ['-qw', ...Object.entries(settings).map(([name, value]) => `${name}=${value}`)]);
  run('nft', ['-f', '-'], dnatRules);
  // The frames are no whole connections: all have one sequence number and no checksum.
  run('sysctl', [
    '-qw',
    'net.netfilter.nf_conntrack_checksum=0',
    'net.netfilter.nf_conntrack_tcp_be_liberal=1',
    'net.netfilter.nf_conntrack_tcp_loose=1',
  ]);
  const most = Number(run('sysctl', ['-n', 'net.netfilter.nf_conntrack_max']));
  if (most < mostConnections)
    throw new Error(`nf_conntrack_max is ${most}, below ${mostConnections}`);
}
