import { guestSocket } from './guest.js';
import type { VmImage } from './image.js';
import { machineSocket } from './machine.js';

/** At rest some 320 are used: the units, and what a workload or a disk process adds. */
const memoryMiB = 640;

/** Words that run a command in the machine whose files are in this folder of the lab. */
export function enterVm(folder: string, argv: readonly string[]): readonly string[] {
  return [process.execPath, program, folder, ...argv];
}

const program = new URL('enter.js', import.meta.url).pathname;

/**
 * First process of a host that is a virtual machine: `host-init NAME DIRECTORY MOUNTPOINT…`, in the host's
 * network namespace and new mount, PID and UTS namespaces, as the lab's own (src/lab/init-scripts.ts).
 *
 * The namespace is only where the machine's plugs are: each cable goes on, through a bridge that learns
 * nothing and hands everything on, into a tap. The machine has the cable's MAC and addresses. Its disk is the
 * image, and what it writes is gone with its power. So whatever a lab does to a host's ports and processes
 * is done to the machine.
 */
export const vmHostInit = ({ disk, kernel, initrd }: VmImage) => `set -eu
name=$1 directory=$2
read -r -a stat < /run/outer-proc/self/stat
boot=$directory/hosts/$name
exec 3>> "$directory/logs/$name.log"
config=$boot/config
rm -rf "$config" "$boot/${guestSocket}" "$boot/${machineSocket}"
mkdir -p "$config/etc/understudy"
cp "$boot/agent.yaml" "$boot/cluster.key" "$config/etc/understudy/"
chmod 600 "$config/etc/understudy/cluster.key"
: > "$config/etc/lab-host"
nics=()
plug() {
  local nic=$1 slot=$2 mac mtu address
  read -r _ _ mac _ < <(ip -brief link show dev "$nic")
  mtu=$(ip -oneline link show dev "$nic" | sed 's/.* mtu \\([0-9]*\\).*/\\1/')
  while read -r _ _ _ address _; do
    echo "ip address add $address dev $nic" >> "$config/etc/lab-host"
  done < <(ip -oneline -4 address show dev "$nic")
  echo "ip link set dev $nic up" >> "$config/etc/lab-host"
  echo 1 > "/proc/sys/net/ipv6/conf/$nic/disable_ipv6"
  ip address flush dev "$nic"
  # The MAC is the machine's now: a bridge would keep the frames of its own ports' MACs.
  ip link set dev "$nic" address "02:55:4d:00:00:$slot"
  ip tuntap add dev "tap-$nic" mode tap
  ip link set dev "tap-$nic" mtu "$mtu"
  ip link add name "hub-$nic" mtu "$mtu" type bridge stp_state 0 forward_delay 0 mcast_snooping 0
  local port
  for port in "$nic" "tap-$nic"; do
    ip link set dev "$port" master "hub-$nic"
    ip link set dev "$port" type bridge_slave learning off flood on mcast_flood on bcast_flood on
  done
  for port in "hub-$nic" "tap-$nic"; do
    echo 1 > "/proc/sys/net/ipv6/conf/$port/disable_ipv6"
    ip link set dev "$port" up
  done
  nics+=(-netdev "tap,id=$nic,ifname=tap-$nic,script=no,downscript=no,vnet_hdr=off")
  nics+=(-device "virtio-net-pci,netdev=$nic,mac=$mac,host_mtu=$mtu,addr=0x$slot,romfile=")
}
plug eth1 11
plug eth2 10
tar --owner=0 --group=0 -C "$config" -cf "$boot/config.tar" .
# Sockets by names that are short, however long the lab's (unix(7)).
cd "$boot"
nice -n -5 qemu-system-x86_64 -name "$name" -machine q35 -accel tcg,thread=multi,tb-size=512 -cpu max -smp 1 -m ${memoryMiB} \\
  -nodefaults -no-user-config -display none -serial file:"$directory/logs/$name.log" \\
  -kernel ${kernel} -initrd ${initrd} \\
  -append "root=/dev/vda rw console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off random.trust_cpu=on systemd.hostname=$name systemd.show_status=no audit=0 nowatchdog cryptomgr.notests" \\
  -drive if=none,id=root,file=${disk},format=raw,snapshot=on,cache=unsafe -device virtio-blk-pci,drive=root \\
  -drive if=none,id=config,file="$boot/config.tar",format=raw,readonly=on -device virtio-blk-pci,drive=config \\
  "\${nics[@]}" -device virtio-rng-pci -device virtio-serial-pci \\
  -chardev socket,id=agent,path=${guestSocket},server=on,wait=off \\
  -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 \\
  -qmp unix:${machineSocket},server=on,wait=off < /dev/null >&3 2>&3 3>&- &
machine=$!
until [ -S ${guestSocket} ] && [ -S ${machineSocket} ]; do
  kill -0 $machine 2> /dev/null || { tail -n 3 "$directory/logs/$name.log" >&2; exit 1; }
  sleep 0.02
done
echo "\${stat[0]} \${stat[21]}" > "$boot/pid.new"
mv "$boot/pid.new" "$boot/pid"
echo ready
exec > /dev/null 2>&1 3>&-
wait $machine
`;
