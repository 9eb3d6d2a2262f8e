import {
  controlNode,
  internalMtu,
  internalPrefixLength,
  type LabEdge,
  type LabHost,
  type LabPlan,
  storageNode,
  storagePrefixLength,
} from './plan.js';

/**
 * The shell that builds a lab, as text. All of it runs inside the lab's own mount and PID namespace;
 * only here and in tests is `ip` spawned.
 */

/**
 * PID 1 of the lab. When it ends, the kernel ends every process in it and with its mount namespace
 * go all named network namespaces, mounts and pins. Until it reads `keep`, the end of its standard
 * input ends it: so nothing is left by a `lab up` that was interrupted or killed.
 */
export function labInit(directory: string): string {
  return `set -e
mount -t proc proc /proc
mkdir -p /run/netns
mount -t tmpfs -o mode=755 tmpfs /run/netns
mount -t tmpfs -o mode=700 tmpfs ${directory}
mkdir -p ${directory}/{luns,logs,hosts,etcd,tgt}
echo ready
if ! read -r word || [ "$word" != keep ]; then exit 1; fi
exec <&- >/dev/null 2>&1
while :; do sleep infinity & wait; done
`;
}

function node(name: string): string {
  return `ip netns add ${name}
ip -n ${name} link set lo up
nsenter --net=/run/netns/${name} sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0`;
}

/** A veth from a node to a bridge of the switch. Unknown unicast is not flooded. */
function port(
  bridge: string,
  nodeName: string,
  device: string,
  addresses: readonly string[],
  mtu: number,
): string {
  const peer = portName(nodeName, device);
  return `ip -n ${nodeName} link add name ${device} mtu ${mtu} type veth peer name ${peer} mtu ${mtu} netns sw
ip -n sw link set ${peer} master ${bridge}
bridge -n sw link set dev ${peer} flood off
ip -n sw link set ${peer} up
${addresses.map((address) => `ip -n ${nodeName} addr add ${address} dev ${device}`).join('\n')}
nsenter --net=/run/netns/${nodeName} ethtool -K ${device} tx off >/dev/null
ip -n ${nodeName} link set ${device} up`;
}

/** Name of a node's port on the switch; at most 15 characters (IFNAMSIZ). */
export function portName(nodeName: string, device: string): string {
  return `p${device.slice(-1)}-${nodeName}`.slice(0, 15);
}

export function buildNetwork(plan: LabPlan): string {
  const internal = (address: string) => [`${address}/${internalPrefixLength}`];
  return [
    'set -e',
    node('sw'),
    bridge('int', internalMtu),
    bridge('sto', 1_500),
    node(controlNode.name),
    port('int', controlNode.name, 'eth1', internal(controlNode.address), internalMtu),
    node(storageNode.name),
    port('int', storageNode.name, 'eth1', internal(storageNode.internal), internalMtu),
    port('sto', storageNode.name, 'eth2', [`${storageNode.storage}/${storagePrefixLength}`], 1_500),
    ...plan.etcd.flatMap(({ node: name, address }) => [
      node(name),
      port('int', name, 'eth1', internal(address), internalMtu),
    ]),
    ...plan.edges.map((edge) => buildEdge(edge, plan.hosts)),
  ].join('\n');
}

function bridge(name: string, mtu: number): string {
  return `ip -n sw link add name ${name} mtu ${mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time 3000000
ip -n sw link set ${name} up`;
}

/**
 * An edge: a plain bridge whose VXLAN port learns. Flooding is off for unknown unicast, so what a
 * client sends to a vMAC goes where the edge last heard that vMAC: only an announcement moves it.
 */
function buildEdge(edge: LabEdge, hosts: readonly LabHost[]): string {
  const name = edge.node;
  return [
    node(name),
    port('int', name, 'eth0', [`${edge.underlay}/${internalPrefixLength}`], internalMtu),
    `ip -n ${name} link add name br type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time 3000000
ip -n ${name} link add name vx mtu ${edge.mtu} type vxlan id ${edge.vni} local ${edge.underlay} dstport 4789 learning ageing 3000
ip -n ${name} link set vx master br
bridge -n ${name} link set dev vx flood off
ip -n ${name} link set vx up
ip -n ${name} link set dev br up`,
    ...hosts.map(
      ({ internal }) => `bridge -n ${name} fdb append 00:00:00:00:00:00 dev vx dst ${internal}`,
    ),
    ...edge.clients.map(
      (client, index) => `${node(client.node)}
ip -n ${client.node} link add name eth0 mtu ${edge.mtu} type veth peer name c${index} mtu ${edge.mtu} netns ${name}
ip -n ${name} link set c${index} master br
bridge -n ${name} link set dev c${index} flood off
ip -n ${name} link set c${index} up
nsenter --net=/run/netns/${client.node} ethtool -K eth0 tx off >/dev/null
${client.addresses.map((address) => `ip -n ${client.node} addr add ${address} dev eth0`).join('\n')}
ip -n ${client.node} link set eth0 up`,
    ),
  ].join('\n');
}

/** A host's namespaces on the switch, before its first process starts. */
export function buildHost(host: LabHost): string {
  return [
    'set -e',
    node(host.name),
    port('int', host.name, 'eth1', [`${host.internal}/${internalPrefixLength}`], internalMtu),
    port('sto', host.name, 'eth2', [`${host.storage}/${storagePrefixLength}`], 1_500),
  ].join('\n');
}

/** Starts a host's first process in namespaces of its own. */
export function bootHost(directory: string, host: string): string {
  return `setsid nsenter --net=/run/netns/${host} unshare --mount --uts --pid --fork --kill-child --propagation private bash ${directory}/host-init ${host} ${directory}/hosts/${host} </dev/null >>${directory}/logs/${host}.log 2>&1 &`;
}

/**
 * PID 1 of a host: a root of its own (what it writes is gone with the power), its own /run, sysfs and
 * bpffs, then pulse and agent, each started again a second after it ends.
 */
export function hostInit(checkout: string, commands: HostCommands): string {
  return `set -e
name=$1
boot=$2
log=$(dirname "$(dirname "$boot")")/logs
exec 3>>"$log/$name-pulse.log" 4>>"$log/$name-agent.log"
mkdir -p "$boot/layer"
mount -t tmpfs tmpfs "$boot/layer"
mkdir "$boot"/layer/{upper,work,root}
root=$boot/layer/root
mount -t overlay -o lowerdir=/,upperdir="$boot/layer/upper",workdir="$boot/layer/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"
for folder in run tmp var/log; do mount -t tmpfs tmpfs "$root/$folder"; done
mkdir -p "$root/run/netns" "$root/var/log/nginx" "$root/etc/understudy" "$root${checkout}"
mount --bind ${checkout} "$root${checkout}"
cp "$boot"/*.yaml "$root/etc/understudy/"
(umask 077; cp "$boot/cluster.key" "$root/etc/understudy/cluster.key")
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
rmdir /old
cd /
hostname "$name"
supervise() { while :; do "$@" </dev/null || true; sleep 1; done; }
supervise ${commands.pulse} >&3 2>&3 3>&- 4>&- &
supervise ${commands.agent} >&4 2>&4 3>&- 4>&- &
exec 3>&- 4>&-
while :; do wait || true; sleep 1; done
`;
}

export interface HostCommands {
  readonly pulse: string;
  readonly agent: string;
}

export function startEtcd(directory: string, plan: LabPlan): string {
  const cluster = plan.etcd
    .map(({ node: name, address }) => `${name}=http://${address}:2380`)
    .join(',');
  return plan.etcd
    .map(
      ({ node: name, address }) =>
        `setsid nsenter --net=/run/netns/${name} etcd --name ${name} --data-dir ${directory}/etcd/${name} --listen-client-urls http://${address}:2379 --advertise-client-urls http://${address}:2379 --listen-peer-urls http://${address}:2380 --initial-advertise-peer-urls http://${address}:2380 --initial-cluster ${cluster} --initial-cluster-state new --heartbeat-interval 40 --election-timeout 200 --logger zap --log-level warn </dev/null >${directory}/logs/${name}.log 2>&1 &`,
    )
    .join('\n');
}

/** tgt with its targets, nobody let in yet: `understudy target` opens them one by one. */
export function startTarget(directory: string, plan: LabPlan): string {
  const admin = `TGT_IPC_SOCKET=${directory}/tgt/socket tgtadm -C 1 --lld iscsi`;
  return [
    'set -e',
    `TGT_IPC_SOCKET=${directory}/tgt/socket setsid nsenter --net=/run/netns/${storageNode.name} tgtd -f -C 1 --iscsi portal=${storageNode.storage}:3260 </dev/null >${directory}/logs/tgtd.log 2>&1 &`,
    // tgtadm answers only once the daemon listens on its socket, and nothing else tells.
    `for try in $(seq 200); do ${admin} --op show --mode system >/dev/null 2>&1 && break; sleep 0.02; done`,
    ...plan.targets.flatMap(({ id, target, luns }) => [
      `${admin} --op new --mode target --tid ${id} -T ${target}`,
      ...luns.flatMap(({ lun, sizeBytes, file }) => [
        `truncate -s ${sizeBytes} ${directory}/${file}`,
        `${admin} --op new --mode logicalunit --tid ${id} --lun ${lun} -b ${directory}/${file}`,
      ]),
    ]),
  ].join('\n');
}

export function startTargetDaemon(directory: string, command: string): string {
  return `TGT_IPC_SOCKET=${directory}/tgt/socket setsid nsenter --net=/run/netns/${storageNode.name} ${command} --config ${directory}/target.yaml </dev/null >${directory}/logs/target.log 2>&1 &`;
}
