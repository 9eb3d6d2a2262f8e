/** What Pacemaker's volume is; the lab serves it, the bench lets everybody in. */
export const peerTarget = 'iqn.2026-11.example.lab:peer';
export const peerLun = 1;
const portal = '10.77.0.1:3260';

/**
 * As sh: installs ocf:bench:volume, a resource agent that attaches the LUN as a disk of ours is attached (an
 * iSCSI initiator in user space, FUSE, a loop device) and mounts it. The usual one, ocf:heartbeat:iscsi, wants
 * an initiator in the kernel, which not every machine that runs this has. In the form of the OCF resource agent API 1.0.
 *
 * The loop device has a number of its own, for its discards are off for good (src/storage/loop-device.ts), and one that
 * a lab removes at its end.
 */
export function volumeAgent(number: number): string {
  const loop = 1_700 + number;
  return `mkdir -p /usr/lib/ocf/resource.d/bench /run/bench-disk
cat > /usr/lib/ocf/resource.d/bench/volume <<'end'
#!/bin/sh
start() {
  monitor && return 0
  unshare --mount --propagation private qemu-storage-daemon --daemonize --pidfile /run/bench-disk/pid \\
    --blockdev driver=iscsi,node-name=lun,transport=tcp,portal=${portal},target=${peerTarget},lun=${peerLun},initiator-name=iqn.2026-11.example.bench:$(uname -n),cache.direct=on,discard=ignore \\
    --export type=fuse,id=export,node-name=lun,mountpoint=/run/bench-disk/lun,writable=on || return 1
  losetup -d /dev/loop${loop} 2> /dev/null # What a start that failed left.
  [ -b /dev/loop${loop} ] || mknod /dev/loop${loop} b 7 ${loop}
  # losetup(8) follows /proc/PID/root as a symbolic link, out of the other mount namespace.
  nsenter --mount --target $(cat /run/bench-disk/pid) \\
    losetup /dev/loop${loop} /run/bench-disk/lun || return 1
  echo 0 > /sys/block/loop${loop}/queue/discard_max_bytes || return 1
  blkid /dev/loop${loop} > /dev/null || mkfs.ext4 -q /dev/loop${loop} || return 1
  mkdir -p /srv/peer && mount /dev/loop${loop} /srv/peer || return 1
  # Unbound by the kernel with its last user.
  losetup -d /dev/loop${loop}
}
stop() {
  if monitor; then umount /srv/peer || return 1; fi
  losetup -d /dev/loop${loop} 2> /dev/null
  if [ -e /run/bench-disk/pid ]; then kill $(cat /run/bench-disk/pid); rm -f /run/bench-disk/pid; fi
}
monitor() { mountpoint -q /srv/peer || return 7; }
case $1 in
  start | stop | monitor) $1 ;;
  meta-data) cat <<xml
<?xml version="1.0"?>
<resource-agent name="volume" version="1.0">
<version>1.0</version>
<longdesc lang="en">A file system on a LUN.</longdesc>
<shortdesc lang="en">a file system on a LUN</shortdesc>
<parameters/>
<actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/><action name="monitor" timeout="20s" interval="10s"/><action name="meta-data" timeout="5s"/></actions>
</resource-agent>
xml
    ;;
  *) exit 3 ;;
esac
end
chmod 755 /usr/lib/ocf/resource.d/bench/volume
touch /run/bench-disk/lun`;
}
