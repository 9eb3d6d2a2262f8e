import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { messageOf, UnderstudyError } from '../errors.js';
import { type LabPlan, portal, storageNode } from './plan.js';
import { word } from './shell.js';

/**
 * The LUNs of a lab served by LIO, the kernel's own target, as shell. The kernel has one configuration for
 * all of the machine, which outlives the lab's processes: what is a lab's is told by the names of its disks.
 */
const config = '/sys/kernel/config/target';
/** LIO numbers folders of disks; labs share one. */
const disks = `${config}/core/fileio_7411`;
const diskPrefix = (lab: string) => `understudy-lab.${lab}.`;
const removeMs = 30_000;

const mounted = `[ -d /sys/kernel/config ] || modprobe configfs 2> /dev/null || :
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config`;

/** Defines the targets; those that reservations fence let in everybody, the others nobody. */
export function startLio(directory: string, plan: LabPlan): string {
  return [
    'set -e',
    `modprobe -a target_core_mod target_core_file iscsi_target_mod 2> /dev/null || :`,
    mounted,
    `if ! mkdir -p ${config}/iscsi 2> /dev/null; then echo 'this kernel has no LIO (iscsi_target_mod)' >&2; exit 1; fi`,
    ...plan.targets.flatMap((target) => defineTarget(directory, plan.name, target)),
  ].join('\n');
}

function defineTarget(
  directory: string,
  lab: string,
  { id, target, luns, reserved }: LabPlan['targets'][number],
): readonly string[] {
  const group = word(`${config}/iscsi/${target}/tpgt_1`);
  const disk = (lun: number) => word(`${disks}/${diskPrefix(lab)}${id}-${lun}`);
  return [
    ...luns.flatMap(({ lun, sizeBytes, file }) => [
      `truncate -s ${sizeBytes} ${directory}/${file}`,
      `mkdir -p ${disk(lun)}`,
      `echo "fd_dev_name=${directory}/${file},fd_dev_size=${sizeBytes},fd_buffered_io=1" > ${disk(lun)}/control`,
      `cat /proc/sys/kernel/random/uuid > ${disk(lun)}/wwn/vpd_unit_serial`,
      `echo 1 > ${disk(lun)}/enable`,
      ...(reserved ? [`echo 0 > ${disk(lun)}/attrib/enforce_pr_isids`] : []),
    ]),
    // Not -p: one of this name is somebody else's.
    `mkdir ${word(`${config}/iscsi/${target}`)}`,
    `mkdir ${group}`,
    ...luns.flatMap(({ lun }) => [
      `mkdir ${group}/lun/lun_${lun}`,
      `ln -s ${disk(lun)} ${group}/lun/lun_${lun}/disk`,
    ]),
    `echo 0 > ${group}/attrib/authentication`,
    `echo 0 > ${group}/attrib/demo_mode_write_protect`,
    `echo ${reserved ? 1 : 0} > ${group}/attrib/generate_node_acls`,
    // It listens in the network that it is made from.
    `nsenter --net=/run/netns/${storageNode.name} mkdir ${group}/np/${portal}`,
    `echo 1 > ${group}/enable`,
  ];
}

/**
 * Takes the targets of a lab out of the kernel, and those that labs left which run no more.
 *
 * @param running names of the labs that keep theirs
 * @throws {UnderstudyError} US_LAB_STUCK
 */
export async function removeLioTargets(running: readonly string[]): Promise<void> {
  const keep = running.map(diskPrefix);
  const argv = ['--mount', 'bash', '-c', removal, 'remove', ...keep];
  try {
    await promisify(execFile)('unshare', argv, { timeout: removeMs });
  } catch (thrown) {
    throw new UnderstudyError({
      code: 'US_LAB_STUCK',
      action: 'cannot remove',
      object: 'targets of labs from LIO',
      cause: messageOf(thrown),
      remedy: `see what is left: ls ${disks}; targetcli ls; the kernel log`,
    });
  }
}

/** A target is a lab's when a LUN of it is on a lab's disk. */
const removal = `[ -d /sys/kernel/config/target ] || mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config || exit 0
[ -d ${disks} ] || exit 0
set -eu
shopt -s nullglob
stale() {
  local name=$1 prefix
  shift
  case $name in understudy-lab.*) ;; *) return 1 ;; esac
  for prefix; do case $name in "$prefix"*) return 1 ;; esac; done
}
for group in ${config}/iscsi/*/tpgt_*; do
  ours=
  for link in "$group"/lun/lun_*/*; do
    if [ -L "$link" ] && stale "$(basename "$(readlink -f "$link")")" "$@"; then ours=1; fi
  done
  [ -n "$ours" ] || continue
  echo 0 > "$group/enable"
  for np in "$group"/np/*; do rmdir "$np"; done
  for acl in "$group"/acls/*; do
    for lun in "$acl"/lun_*; do
      for link in "$lun"/*; do if [ -L "$link" ]; then rm "$link"; fi; done
      rmdir "$lun"
    done
    rmdir "$acl"
  done
  for lun in "$group"/lun/lun_*; do
    for link in "$lun"/*; do if [ -L "$link" ]; then rm "$link"; fi; done
    rmdir "$lun"
  done
  rmdir "$group" "$(dirname "$group")"
done
for disk in ${disks}/understudy-lab.*; do
  if stale "$(basename "$disk")" "$@"; then rmdir "$disk"; fi
done
rmdir ${disks} 2> /dev/null || : # another lab's are left
`;
