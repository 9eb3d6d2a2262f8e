import type { FileFacts, HostFacts, ProgramFacts } from './facts.js';
import { type Check, type Finding, notApplicable, ok, problem, warning } from './types.js';

const leastNode = 20;
/** Sources that are read through slow hardware, or tick with the timer only. */
const slowClocks = ['hpet', 'acpi_pm', 'jiffies', 'refined-jiffies', 'pit'];
const leastOpenFiles = 4_096;
/** What pulse locks of node (docs/architecture.md, Pulse). */
const leastLockedBytes = 128 * 1024 * 1024;
const shortestKeyBytes = 32;
/** Of a certificate that should be renewed. */
const soonDays = 30;

/** Clock, limits, units, files and programs. */
export const systemChecks: readonly Check<HostFacts>[] = [
  {
    id: 'clock-source',
    title: 'clock source',
    judge: ({ clock: { current } }) =>
      slowClocks.includes(current)
        ? warning(
            `the kernel reads ${current}, which is slow or coarse`,
            'see why the kernel distrusts the better one (dmesg | grep -i clocksource); on a VM, let the hypervisor offer its own',
          )
        : ok(current === '' ? 'not told here' : current),
  },
  {
    id: 'clock-tsc',
    title: 'time stamp counter',
    judge: ({ clock: { current, available, architecture } }) => {
      if (architecture !== 'x64') return notApplicable(`${architecture} has none`);
      if (available.length === 0) return notApplicable('not told here');
      if (available.includes('tsc') || /^(kvm|hyperv|xen)/.test(current)) {
        return ok(`available: ${available.join(', ')}`);
      }
      return warning(
        `the kernel gave tsc up as unstable (available: ${available.join(', ')}): rates may differ by more than the margin of leases`,
        'BIOS and firmware up to date; compare boot clocks with other hosts; see dmesg | grep -i tsc',
      );
    },
  },
  {
    id: 'limit-files',
    title: 'open files',
    judge: ({ limits: { openFiles } }) =>
      openFiles >= leastOpenFiles
        ? ok(`${openFiles} a process`)
        : warning(
            `${openFiles} a process; the agent holds a socket for each namespace`,
            `LimitNOFILE=${leastOpenFiles} or more`,
          ),
  },
  {
    id: 'limit-memlock',
    title: 'locked memory',
    judge: ({ limits: { lockedBytes }, root }) => {
      const mebibytes = Math.floor(lockedBytes / 1024 / 1024);
      if (root) return ok(`${mebibytes} MiB for others; root is not held to it`);
      return lockedBytes >= leastLockedBytes
        ? ok(`${mebibytes} MiB`)
        : warning(
            `${mebibytes} MiB: pulse cannot keep its program in memory`,
            'LimitMEMLOCK=infinity',
          );
    },
  },
  {
    id: 'units-present',
    title: 'units',
    judge: ({ units: { systemd, agent, pulse } }) => {
      if (!systemd) return notApplicable('systemd does not run here');
      if (agent !== undefined && pulse !== undefined) return ok(`${agent}, ${pulse}`);
      const missing = [agent ?? 'understudy-agent.service', pulse ?? 'understudy-pulse.service'];
      const absent = missing.filter((name) => !name.includes('/'));
      return warning(
        `not installed: ${absent.join(', ')}`,
        'install the units; then they start at boot',
      );
    },
  },
  {
    id: 'units-priority',
    title: 'priority of pulse',
    judge: ({ units: { systemd, pulse, pulseText } }) => {
      if (!systemd || pulse === undefined) return notApplicable('no unit of pulse');
      const wanted = ['OOMScoreAdjust=-9', 'Nice=-', 'LimitMEMLOCK=infinity'];
      const missing = wanted.filter((setting) => !pulseText.includes(setting));
      return missing.length === 0
        ? ok('first in line, last for the OOM killer')
        : warning(
            `${pulse} lacks ${missing.map((setting) => setting.split('=')[0]).join(', ')}: under load the lease may lapse`,
            'take the unit as it is shipped, and put changes into a drop-in',
          );
    },
  },
  {
    id: 'file-key',
    title: 'cluster key',
    judge: ({ files }) => filesOf(files, 'key', keyTrouble),
  },
  {
    id: 'file-settings',
    title: 'settings files',
    judge: ({ files }) =>
      filesOf(files, 'settings', ({ path, mode, uid }) =>
        uid !== 0 || (mode & 0o022) !== 0
          ? problem(`others than root may change ${path}`, `chown root ${path}; chmod go-w ${path}`)
          : undefined,
      ),
  },
  {
    id: 'file-api',
    title: 'files of the API for callers elsewhere',
    judge: ({ files }) =>
      filesOf(files, 'api', ({ path, mode, uid }) =>
        uid !== 0 || (mode & 0o077) !== 0
          ? problem(
              `others than root may use ${path}: the API lets nobody in, or does not start`,
              `chown root ${path}; chmod 0600 ${path}; if others could read it, make another`,
            )
          : undefined,
      ),
  },
  {
    id: 'api-certificate',
    title: 'certificate of the API for callers elsewhere',
    judge: ({ files }) => {
      const [found] = files.filter(({ kind }) => kind === 'certificate');
      if (found === undefined) return notApplicable('there is no remoteApi');
      const { path, daysLeft } = found;
      const renew = `put a new one there, with its key: it is taken within a minute`;
      if (daysLeft === undefined) return problem(`${path} is no certificate`, renew);
      if (daysLeft < 0) return problem(`${path} has expired`, renew);
      return daysLeft < soonDays
        ? warning(`${path} expires in ${daysLeft} days`, renew)
        : ok(`${path}, ${daysLeft} days left`);
    },
  },
  {
    id: 'version-node',
    title: 'Node',
    judge: ({ programs: { node, understudy } }) =>
      Number(node.split('.')[0]) >= leastNode
        ? ok(`${node}, understudy ${understudy}`)
        : problem(`${node}`, `Node ${leastNode} or later`),
  },
  {
    id: 'version-libbpf',
    title: 'libbpf',
    judge: ({ programs: { libbpf, libbpfVersion } }) =>
      libbpf === undefined ? ok(libbpfVersion) : problem(libbpf, 'apt-get install libbpf1'),
  },
  {
    id: 'version-libiscsi',
    title: 'libiscsi',
    judge: ({ programs: { libiscsi }, needs }) =>
      forVolumes(
        needs.volumes,
        libiscsi === undefined,
        libiscsi ?? 'loads',
        'apt-get install libiscsi7',
      ),
  },
  {
    id: 'program-disk',
    title: 'qemu-storage-daemon',
    judge: ({ programs, needs }) => {
      const there = programs.disk !== undefined && programs.diskIscsi;
      return forVolumes(
        needs.volumes,
        there,
        diskText(programs),
        'apt-get install qemu-utils qemu-block-extra; on Debian 12 qemu-system-common too',
      );
    },
  },
  {
    id: 'program-mkfs',
    title: 'file system tools',
    judge: ({ programs: { mkfs }, needs }) => {
      const wanted = needs.filesystems ?? [];
      const missing = wanted.filter((name) => !mkfs.includes(name));
      if (wanted.length === 0) return notApplicable('no volume is defined');
      return missing.length === 0
        ? ok(`mkfs and fsck for ${wanted.join(', ')}`)
        : problem(`nothing for ${missing.join(', ')}`, 'apt-get install e2fsprogs xfsprogs');
    },
  },
  {
    id: 'program-nft',
    title: 'nftables',
    judge: ({ programs: { nft }, needs }) => {
      if (nft !== undefined) return ok(nft);
      if (needs.nftables !== true) return notApplicable('no nft; no service asks for it');
      return problem(
        'no nft, and a service with dataPlane: nftables may come here',
        'apt-get install nftables',
      );
    },
  },
  {
    id: 'volume-secrets',
    title: 'CHAP secrets',
    judge: ({ secrets }) => {
      if (secrets === undefined || secrets.length === 0) {
        return notApplicable('no volume that may come here has CHAP');
      }
      const bad = secrets.filter(({ trouble }) => trouble !== undefined);
      return bad.length === 0
        ? ok(`of ${secrets.map(({ volume }) => volume).join(', ')}`)
        : problem(
            bad.map(({ volume, trouble }) => `${volume}: ${trouble}`).join('; '),
            'put the secret there, one line, mode 0600: without it the volume cannot come here',
          );
    },
  },
  {
    id: 'health-scripts',
    title: 'health scripts',
    judge: ({ scripts }) => {
      if (scripts === undefined || scripts.length === 0) {
        return notApplicable('no service asks its members here by a script');
      }
      const bad = scripts.filter(({ trouble }) => trouble !== undefined);
      return bad.length === 0
        ? ok(scripts.map(({ program }) => program).join(', '))
        : problem(
            bad
              .map(({ service, program, trouble }) => `${service}: ${program}: ${trouble}`)
              .join('; '),
            'put it there, for nobody to execute: without it each member that comes here is down',
          );
    },
  },
];

function diskText({ disk, diskIscsi }: ProgramFacts): string {
  if (disk === undefined) return 'not in PATH';
  return diskIscsi ? `${disk}, with its iSCSI driver` : `${disk}, without its iSCSI driver`;
}

function forVolumes(
  needed: boolean | undefined,
  there: boolean,
  saw: string,
  remedy: string,
): Finding {
  if (there) return ok(saw);
  if (needed === false) return notApplicable(`${saw}; no volume is defined`);
  return needed === undefined
    ? warning(`${saw}; needed for volumes`, remedy)
    : problem(saw, remedy);
}

function keyTrouble({ path, mode, uid, sizeBytes }: FileFacts): Finding | undefined {
  const text = mode.toString(8).padStart(4, '0');
  if (uid !== 0 || (mode & 0o077) !== 0) {
    return problem(
      `${path} has mode ${text} and owner ${uid}: others may read it`,
      `chown root ${path}; chmod 0600 ${path}; if others could read it, make a new one for the whole cluster`,
    );
  }
  if (sizeBytes >= shortestKeyBytes) return undefined;
  return problem(`${path} has ${sizeBytes} bytes`, `head -c 32 /dev/urandom | base64 > ${path}`);
}

function filesOf(
  files: readonly FileFacts[],
  kind: FileFacts['kind'],
  judge: (file: FileFacts) => Finding | undefined,
): Finding {
  const named = files.filter((file) => file.kind === kind);
  if (named.length === 0) return notApplicable('no agent configuration names one');
  const missing = named.filter(({ there }) => !there).map(({ path }) => path);
  if (missing.length > 0) {
    return problem(`not there: ${missing.join(', ')}`, 'copy it from another host');
  }
  const faults = named.flatMap((file) => judge(file) ?? []);
  return faults[0] ?? ok(named.map(({ path }) => path).join(', '));
}
