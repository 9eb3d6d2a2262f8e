import { join } from 'node:path';
import type { StartedProcess } from './record.js';
import type { WorkloadSpec } from './types.js';

/**
 * Makes the volumes appear at their paths, in a mount namespace just made, then runs a command.
 *
 * A source that is no mount point is refused: its volume is gone, and what the workload wrote there
 * would land on the host's own disk. Missing mount points are made, and stay. A volume without a file
 * system is a device node, placed on a file.
 *
 * A copied mount namespace also copies the mounts of *other* personalities' volumes and namespaces;
 * they would stay mounted here after the host let go of them, and keep a lost disk in use. So all
 * that is mounted below the run directory and /run/netns is taken out again, our own sources too:
 * what remains of them is the bind mount at the wished path.
 *
 * Arguments: run directory, number of mounts, source and target of each, the command.
 */
export const mountScript = `set -eu
run=$1 count=$2
shift 2
while [ "$count" -gt 0 ]; do
  if [ -b "$1" ]; then
    mkdir -p -- "$(dirname -- "$2")"
    [ -e "$2" ] || : > "$2"
  elif mountpoint -q -- "$1"; then
    mkdir -p -- "$2"
  else
    echo "$1: no volume is mounted there" >&2
    exit 1
  fi
  mount --bind -- "$1" "$2"
  shift 2
  count=$((count - 1))
done
foreign=
while read -r _ _ _ _ point _; do
  case $point in
    "$run"/*|/run/netns/*|/var/run/netns/*) foreign="$point $foreign" ;;
  esac
done < /proc/self/mountinfo
for point in $foreign; do
  umount -l -- "$(printf '%b' "$point")" 2>/dev/null || :
done
`;

/** Waits for the order to go on, so that nothing runs that no record knows of, then becomes it. */
export const launchScript = `${mountScript}
if ! command -v "$1" > /dev/null; then
  echo "$1: command not found" >&2
  exit 127
fi
echo ready
read -r go || exit 125
exec "$@" < /dev/null >&3 2>&1 3>&-
`;

/** The argv that carries `script` out in the personality's network and a mount namespace of its own. */
export function freshNamespaceCommand(
  spec: WorkloadSpec,
  runDirectory: string,
  script: string,
): readonly string[] {
  return [
    ...['nsenter', `--net=${spec.namespacePath}`, '--'],
    ...['unshare', '--mount', '--propagation', 'private', '--'],
    ...['sh', '-c', script, `understudy-${spec.personality}`],
    ...[runDirectory, String(spec.mounts.length)],
    ...parentsFirst(spec.mounts).flatMap(({ source, target }) => [source, target]),
  ];
}

/** /srv before /srv/data: the other way round the first would hide the second. */
function parentsFirst(mounts: WorkloadSpec['mounts']): WorkloadSpec['mounts'] {
  return [...mounts].sort((a, b) => a.target.length - b.target.length);
}

/**
 * Words put before any command to run it in a personality on this host: in its network namespace,
 * with its volumes at their paths; in the mount namespace of its workload while that runs.
 *
 * They are looked up when run, in the file system of whoever runs them: a lab may put its own words
 * for entering a host before these.
 */
export function enterPersonalityCommand(
  personality: string,
  runDirectory = '/run/understudy',
): string[] {
  const file = join(runDirectory, 'workload', `${personality}.enter`);
  const script = `if [ ! -r "$1" ]; then
  echo "US_WORKLOAD_NOT_HERE: cannot enter ${personality}: it does not run on this host" >&2
  exit 1
fi
exec sh "$@"`;
  return ['sh', '-c', script, 'understudy-enter', file];
}

/** What `enterPersonalityCommand` runs: one file a personality, rewritten at each start. */
export function enterScript(
  spec: WorkloadSpec,
  runDirectory: string,
  process: StartedProcess | null,
): string {
  const fresh = freshNamespaceCommand(spec, runDirectory, `${mountScript}exec "$@"\n`);
  const lines = ['#!/bin/sh', `# Enters personality ${spec.personality}; written by understudy.`];
  if (process !== null) {
    const { pid, startTicks } = process;
    lines.push(
      `# The start time (field 22 of proc_pid_stat(5)) tells the workload from a later process.`,
      `started=$(sed 's/.*) //' /proc/${pid}/stat 2> /dev/null | cut -d ' ' -f 20)`,
      `if [ "$started" = ${startTicks} ]; then`,
      `  exec nsenter --target ${pid} --net --mount -- "$@"`,
      'fi',
    );
  }
  lines.push(`exec ${fresh.map(quote).join(' ')} "$@"`, '');
  return lines.join('\n');
}

/** One word for a POSIX shell, whatever is in it. */
export function quote(word: string): string {
  return /^[A-Za-z0-9_/.:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
