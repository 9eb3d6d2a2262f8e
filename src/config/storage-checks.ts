import { parseAddress } from './addresses.js';
import { doubles, type Fault, type Path, unknown } from './faults.js';
import type { ClusterFile } from './schema.js';

export function checkVolumes(file: ClusterFile): readonly Fault[] {
  const faults = file.volumes.flatMap(({ name, portals }, index): Fault[] => {
    const path = ['volumes', index];
    if (portals.length === 0 && file.lab === undefined) {
      const write = 'add portals: ["10.77.0.1:3260"]';
      return [{ path, what: `volume ${name} has no portal`, write }];
    }
    const bad = portals.flatMap((portal, at) =>
      isPortal(portal)
        ? []
        : [
            {
              path: [...path, 'portals', at],
              what: `${portal} is no portal`,
              write: 'write address:port, e.g. 10.77.0.1:3260 or [fd00::1]:3260',
            },
          ],
    );
    const twice = doubles(
      portals.map((value, at) => ({ value, path: [...path, 'portals', at] })),
      (portal) => `portal ${portal} is named twice: that is no second path`,
      'name each portal once',
    );
    return [...bad, ...twice, ...checkAccess(file.volumes[index], path)];
  });
  return [
    ...faults,
    ...doubles(
      file.volumes.map(({ target, lun }, index) => ({
        value: `LUN ${lun} of ${target}`,
        path: ['volumes', index],
      })),
      (lun) => `two volumes are ${lun}`,
      'a LUN is one volume: name it once',
    ),
    ...checkFences(file),
  ];
}

/** The mask is kept by target: it would lock out the volumes that are not fenced by it, or not be kept. */
function checkFences({ volumes }: ClusterFile): readonly Fault[] {
  return volumes.flatMap(({ name, target, fence }, index): Fault[] => {
    const first = volumes.find((one) => one.target === target);
    if (first === undefined || first.fence === fence) return [];
    const what = `volume ${name} is fenced by ${fence}, ${first.name} of the same target by ${first.fence}`;
    const write = `fence: ${first.fence}, or give it a target of its own`;
    return [{ path: ['volumes', index, 'fence'], what, write }];
  });
}

function checkAccess(volume: ClusterFile['volumes'][number] | undefined, path: Path) {
  const faults: Fault[] = [];
  if (volume?.access === 'read-only' && volume.format === 'if-blank') {
    const what = `volume ${volume.name} is read-only and shall be formatted`;
    faults.push({ path: [...path, 'format'], what, write: 'format: never, or access: read-write' });
  }
  if (volume?.filesystem === 'none' && volume.format === 'if-blank') {
    const what = `volume ${volume.name} has no file system and shall be formatted`;
    faults.push({ path: [...path, 'format'], what, write: 'format: never, or filesystem: ext4' });
  }
  const { chap } = volume ?? {};
  if (chap?.mutual !== undefined && chap.mutual.secretFile === chap.secretFile) {
    const what = `both directions of CHAP have the secret of ${chap.secretFile}`;
    const write = 'give the target a secret of its own (RFC 7143, 9.2.1)';
    faults.push({ path: [...path, 'chap', 'mutual', 'secretFile'], what, write });
  }
  return faults;
}

/** An address, not a name: looking names up would be one more thing to fail in a takeover. */
function isPortal(text: string): boolean {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const [, v6, v4, port] = match ?? [];
  const address = v6 ?? v4;
  if (address === undefined || parseAddress(address) === undefined) return false;
  if ((v6 !== undefined) !== address.includes(':')) return false;
  return Number(port) >= 1 && Number(port) <= 65_535;
}

/** What each personality sees, and that no LUN has two writers. */
export function checkStorageMaps(file: ClusterFile): readonly Fault[] {
  const names = file.volumes.map(({ name }) => name);
  const entries = file.personalities.flatMap((personality, index) =>
    personality.storage.map((entry, at) => ({
      entry,
      owner: personality.name,
      path: ['personalities', index, 'storage', at],
    })),
  );
  return [
    ...entries.flatMap(({ entry, path }) =>
      names.includes(entry.volume)
        ? []
        : [unknown([...path, 'volume'], 'volume', entry.volume, names)],
    ),
    ...file.personalities.flatMap(({ name, storage }, index) => [
      ...doubles(
        storage.map(({ lun }, at) => ({
          value: lun,
          path: ['personalities', index, 'storage', at, 'lun'],
        })),
        (lun) => `two disks of ${name} are virtual LUN ${lun}`,
        'number them 0, 1, …',
      ),
      ...doubles(
        storage.map(({ mount }, at) => ({
          value: mount,
          path: ['personalities', index, 'storage', at, 'mount'],
        })),
        (mount) => `two disks of ${name} are mounted at ${mount}`,
        'give each its own path',
      ),
    ]),
    ...doubles(
      entries.map(({ entry, path }) => ({ value: entry.volume, path: [...path, 'volume'] })),
      (volume) => `volume ${volume} is used twice: it would have two writers`,
      'give each personality a volume of its own',
    ),
    ...checkSharedTargets(file, entries),
  ];
}

/**
 * The mask that fences a failed owner is kept by target (tgt has no finer one): a target whose LUNs
 * belong to two personalities would let in one of them alone.
 */
function checkSharedTargets(
  file: ClusterFile,
  entries: readonly {
    readonly entry: { readonly volume: string };
    readonly owner: string;
    readonly path: Path;
  }[],
): readonly Fault[] {
  const owners = new Map<string, { readonly owner: string; readonly volume: string }>();
  return entries.flatMap(({ entry: { volume }, owner, path }): Fault[] => {
    const target = file.volumes.find(({ name }) => name === volume)?.target;
    if (target === undefined) return []; // told elsewhere
    const first = owners.get(target) ?? { owner, volume };
    owners.set(target, first);
    if (first.owner === owner || first.volume === volume) return []; // one volume twice: told elsewhere
    const what = `the target of ${volume} has a LUN of ${first.owner} too: fencing one would cut off the other`;
    return [
      { path: [...path, 'volume'], what, write: 'give each personality a target of its own' },
    ];
  });
}
