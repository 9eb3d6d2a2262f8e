/**
 * The first processes of a lab and of its hosts, as bash: small, always there, and it reaps what is
 * left to it. Arguments come as words, never as text in the script.
 */

/**
 * PID 1 of the lab: `lab-init DIRECTORY MOUNTPOINT…`, started in new mount, PID and network namespaces.
 *
 * When it ends, the kernel ends every process in it, and with its mount namespace go all named network
 * namespaces, mounts and pins. Until it reads `keep` from descriptor 3, the end of that pipe ends it: so nothing
 * is left by a `lab up` that was interrupted or killed.
 *
 * It takes a root of its own with only what a lab needs: a copy of somebody else's mount or of a
 * network namespace's name would keep that in use for as long as the lab runs. `pivot_root . .` stacks
 * the old root upon the new one, from where it is taken away (pivot_root(2)).
 */
export const labInit = `set -eu
directory=$1
shift
# The machine's /proc, which is still here, numbers this process as the machine does.
read -r pid rest < /proc/self/stat
mount -t tmpfs -o mode=700 understudy-lab "$directory"
root=$directory/root
mkdir "$root"
mount --bind / "$root"
for point; do mount --bind "$point" "$root$point"; done
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/outer-proc" "$root/run/outer-state" "$root/run/netns" "$root/run/lock" "$root/run/tgtd"
mkdir -p -m 700 "$root$directory"
mkdir "$root$directory"/{hosts,logs,luns,etcd,tgt,run}
mount --bind /proc "$root/run/outer-proc"
mount --bind "$(dirname "$directory")" "$root/run/outer-state"
cd "$root"
pivot_root . .
umount -l .
cd /
ip netns attach ctl 1
echo "ready $pid"
if ! read -r word <&3 || [ "$word" != keep ]; then
  state=/run/outer-state/$(basename "$directory")
  # Only its own: of two labs of one name started at once, one has to go.
  if grep -q "\\"pid\\":$pid," "$state/lab.json" 2> /dev/null; then rm -r "$state"; fi
  exit 1
fi
exec > /dev/null 2>&1 3>&-
while :; do
  sleep infinity &
  wait
done
`;

/**
 * `supervise FOLDER NAME` keeps a daemon running whose argv, each word ended by NUL, is in
 * FOLDER/NAME.command; read anew each time, so that another build may take its place. Again a second
 * after it ended, or as soon as somebody writes a line to FOLDER/NAME.again.
 */
const supervise = `supervise() {
  local command
  mkfifo "$1/$2.again"
  exec 9<> "$1/$2.again"
  while :; do
    mapfile -d '' -t command < "$1/$2.command"
    "\${command[@]}" 9>&- &
    echo "$!" > "$1/$2.pid.new"
    mv "$1/$2.pid.new" "$1/$2.pid"
    wait "$!" || :
    read -r -t 1 -u 9 || :
  done
}`;

/**
 * PID 1 of a host: `host-init NAME DIRECTORY MOUNTPOINT…`, started in the host's network
 * namespace and new mount, PID and UTS namespaces.
 *
 * A root of its own: the machine's, with an overlay that is gone with the power; its own /proc, /run,
 * sysfs, bpffs and folders for what the product keeps, so that an installation on the machine itself is
 * neither seen nor touched. Then pulse and agent, each started again a second after it ends.
 */
export const hostInit = `set -eu
name=$1 directory=$2
shift 2
# Number and start time (fields 1 and 22 of proc_pid_stat(5)) as the machine sees them.
read -r -a stat < /run/outer-proc/self/stat
boot=$directory/hosts/$name
exec 3>> "$directory/logs/$name-pulse.log" 4>> "$directory/logs/$name-agent.log"
mkdir -p "$boot/layer"
mount -t tmpfs -o mode=755 tmpfs "$boot/layer"
mkdir "$boot"/layer/{upper,work,root}
root=$boot/layer/root
mount -t overlay -o "lowerdir=/,upperdir=$boot/layer/upper,workdir=$boot/layer/work" overlay "$root"
for point; do mount --bind "$point" "$root$point"; done
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mkdir -p "$root/etc/understudy" "$root/var/lib/understudy"
for folder in run var/log etc/understudy var/lib/understudy; do
  mount -t tmpfs -o mode=755 tmpfs "$root/$folder"
done
mkdir -p "$root/run/netns" "$root/run/lock" "$root/run/lab" "$root/var/log/nginx"
cp "$boot"/*.yaml "$boot/cluster.key" "$root/etc/understudy/"
chmod 600 "$root/etc/understudy/cluster.key"
cp "$boot"/*.command "$root/run/lab/"
echo "\${stat[0]} \${stat[21]}" > "$boot/pid.new"
mv "$boot/pid.new" "$boot/pid"
cd "$root"
pivot_root . .
umount -l .
cd /
hostname "$name"
echo ready
exec < /dev/null > /dev/null 2>&1
${supervise}
supervise /run/lab pulse >&3 2>&3 3>&- 4>&- &
supervise /run/lab agent >&4 2>&4 3>&- 4>&- &
exec 3>&- 4>&-
while :; do
  wait
  sleep 1
done
`;

/** `keep-running FOLDER NAME`, for a daemon beside the hosts. */
export const keepRunning = `${supervise}
supervise "$1" "$2"
`;
