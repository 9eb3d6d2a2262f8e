import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { upperLayer } from './package.js';

/**
 * First process of a lab's host that is run by systemd, as a sysadmin's hosts are: an overlay of the
 * machine's root and some files, booted by systemd-nspawn in the host's network. What the machine itself
 * would start is left out. The host's own files are put into /opt/packages. The overlay is the host's disk: it
 * stays for the next boot.
 *
 * Words and ends as the lab's own (src/lab/init-scripts.ts). The host's first process, which a power
 * cut kills, is its systemd.
 *
 * @param files a root folder whose files are added
 * @param cgroup name of this lab's control group, below the root of the unified hierarchy
 */
export const systemdHostInit = (files: string, cgroup: string) => `set -eu
name=$1 directory=$2
shift 2
boot=$directory/hosts/$name
exec 3>> "$directory/logs/$name.log"
mkdir -p "$boot/layer"
mount -t tmpfs -o mode=755 tmpfs "$boot/layer"
mkdir -m 755 "$boot"/layer/{root,bpf}
root=$boot/layer/root
disk=$boot/disk
blank=
if [ ! -e "$disk" ]; then
  blank=yes
  mkdir -m 755 "$disk" "$disk"/{upper,work}
fi
mount -t overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" overlay "$root"
for point; do mount --bind "$point" "$root$point"; done
mount -t bpf bpf "$boot/layer/bpf"
if [ "$blank" ]; then
  rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/rc?.d "$root/etc/machine-id" "$root/etc/understudy" "$root/var/log/journal" "$root/usr/sbin/policy-rc.d"
  od -An -N16 -tx1 /dev/urandom | tr -d ' \\n' > "$root/etc/machine-id"
  cp -a ${files}/. "$root/"
  cp "$boot/agent.yaml" "$boot/cluster.key" "$root/opt/packages/"
  systemctl --quiet --root="$root" enable install-package 2>&3
fi
mount -t proc proc /proc
mount -t cgroup2 cgroup /sys/fs/cgroup
mkdir -p "/sys/fs/cgroup/${cgroup}/$name"
echo 0 > "/sys/fs/cgroup/${cgroup}/$name/cgroup.procs"
# The container has the machine's own rights, so its processes may write /proc/sys and use bpf(2).
SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 SYSTEMD_NSPAWN_LOCK=0 SYSTEMD_SECCOMP=0 systemd-nspawn \\
  --quiet --directory="$root" --machine="$name" --boot --register=no --keep-unit --console=pipe \\
  --link-journal=no --resolv-conf=off --timezone=off --capability=all \\
  --bind=/dev/fuse --bind=/dev/loop-control --bind="$boot/layer/bpf:/sys/fs/bpf" \\
  --bind-ro="$disk/upper:${upperLayer}" < /dev/null >&3 2>&3 3>&- &
container=$!
# Children of a process, as the machine numbers both; the file has no newline.
children_of() { read -r -a children < "/run/outer-proc/$1/task/$1/children" || [ "\${#children[@]}" -gt 0 ]; }
read -r own rest < /run/outer-proc/self/stat
until children_of "$own" && children_of "\${children[0]}" && pid=\${children[0]} &&
  [ "$(< "/run/outer-proc/$pid/comm")" = systemd ]; do
  kill -0 $container 2> /dev/null || { tail -n 3 "$directory/logs/$name.log" >&2; exit 1; }
  sleep 0.02
done
read -r -a stat < "/run/outer-proc/$pid/stat"
echo "$pid \${stat[21]}" > "$boot/pid.new"
mv "$boot/pid.new" "$boot/pid"
echo ready
exec > /dev/null 2>&1
wait $container
`;

/** Removes what is left of the lab's control group once its processes are gone: empty folders. */
export function removeCgroup(name: string): void {
  const remove = (folder: string) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) remove(join(folder, entry.name));
    }
    rmdirSync(folder);
  };
  const folder = join(unifiedHierarchy() ?? '', name);
  if (existsSync(folder)) remove(folder);
}

/** Where this machine has control groups of version 2 mounted. */
export function unifiedHierarchy(): string | undefined {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  return mounts.map((line) => line.split(' ')).find(([, , type]) => type === 'cgroup2')?.[1];
}
