import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import {
  createMap,
  mapperControl,
  mapStatus,
  messageMap,
  removeMap,
} from '../ffi/device-mapper.js';
import { SystemCallError } from '../ffi/libc.js';
import { hasModule } from './kernel-modules.js';
import { diskBytes, diskState, type KernelDisk } from './kernel-sessions.js';
import { interfaceName } from './kernel-state.js';
import { elsewhere } from './same-lun.js';
import type { Layout, VolumeId } from './state.js';
import type { AttachSpec } from './types.js';

/**
 * Several paths to one LUN as one disk, by dm-multipath, with a table of our own: multipathd is not needed,
 * and where it runs it leaves alone what it has not made (its maps have UUIDs that begin with `mpath-`).
 *
 * A write that fails on one path is repeated on another; where none is left it waits, as on a single path.
 * The kernel takes a path away by itself, and gives it back to nobody: that is `restorePaths`.
 */
export interface KernelMap {
  /** Its name; carries our tag. */
  readonly name: string;
  /** `dm-0`. */
  readonly device: string;
  /** `major:minor`. */
  readonly number: string;
}

/** Whether this kernel can join paths. */
export function canJoinPaths(): boolean {
  return existsSync(mapperControl) && hasModule('dm_multipath');
}

/** Of sessions that each have a number once a boot: a map that is still going does not bar the next. */
const prefixOf = (layout: Layout, id: VolumeId) => `${interfaceName(layout, id)}.`;

/** @throws {SystemCallError} */
export async function joinPaths(
  layout: Layout,
  id: VolumeId,
  paths: readonly KernelDisk[],
  readOnly: boolean,
): Promise<KernelMap> {
  const [first] = paths;
  if (first === undefined) throw new Error('no path to join');
  const name = `${prefixOf(layout, id)}${first.session}`;
  const number = await createMap({
    ...{ name, uuid: `understudy-${name}`, type: 'multipath', readOnly },
    sectors: (await diskBytes(first)) / 512,
    parameters: tableOf(paths.map((path) => path.number)),
  });
  return { name, number, device: `dm-${number.split(':')[1]}` };
}

/** Pure: one group of paths, of which each write takes the one that is done soonest; none fails for want of a path. */
export function tableOf(numbers: readonly string[]): string {
  const paths = numbers.map((number) => `${number} 1`).join(' ');
  return `1 queue_if_no_path 0 1 1 service-time 0 ${numbers.length} 1 ${paths}`;
}

/** Pure: paths that the kernel has taken away, of the words of a map's status. */
export function failedPaths(status: string): readonly string[] {
  return [...status.matchAll(/(?<= )(\d+:\d+) F(?= |$)/g)].map(([, number = '']) => number);
}

/**
 * A disk that multipathd has claimed would be in two maps, and what ends ours would not end that one.
 *
 * @throws {UnderstudyError} US_STORAGE_ELSEWHERE
 */
export async function refuseHeld(spec: AttachSpec, paths: readonly KernelDisk[]): Promise<void> {
  for (const { name } of paths) {
    const [holder] = await readdir(`/sys/block/${name}/holders`).catch(() => []);
    if (holder === undefined) continue;
    const map = await content(`/sys/block/${holder}/dm/name`);
    throw elsewhere(
      spec,
      `/dev/${name}, which is a path to it, has been taken by ${map || holder}`,
      'keep multipathd from our disks: find_multipaths strict (as Debian has it), or blacklist them',
    );
  }
}

/** Every map of the volume, of whatever attach. */
export async function mapsOf(layout: Layout, id: VolumeId): Promise<readonly KernelMap[]> {
  return (await allMaps()).filter(({ name }) => name.startsWith(prefixOf(layout, id)));
}

export async function allMaps(): Promise<readonly KernelMap[]> {
  const devices = (await readdir('/sys/block').catch(() => [])).filter((name) =>
    name.startsWith('dm-'),
  );
  return Promise.all(
    devices.map(async (device) => ({
      device,
      name: await content(`/sys/block/${device}/dm/name`),
      number: await content(`/sys/block/${device}/dev`),
    })),
  );
}

/**
 * From now on nothing more is sent by any of its paths, and what waits for one fails. What was sent goes on
 * until its session ends.
 */
export async function stopMap({ name, device }: KernelMap): Promise<void> {
  const slaves = await readdir(`/sys/block/${device}/slaves`).catch(() => []);
  const numbers = await Promise.all(slaves.map((slave) => content(`/sys/block/${slave}/dev`)));
  const messages = ['fail_if_no_path', ...numbers.map((number) => `fail_path ${number}`)];
  for (const message of messages) await messageMap(name, message).catch(gone);
}

/** By force: goes now, or with its last user, who can neither read nor write by it. */
export async function dropMap(map: KernelMap): Promise<void> {
  await stopMap(map);
  await removeMap(map.name, true);
}

/** Gives back the paths that carry again. @returns them, as `major:minor` */
export async function restorePaths(
  map: Pick<KernelMap, 'name'>,
  paths: readonly KernelDisk[],
  mayStill: () => boolean,
): Promise<readonly string[]> {
  const failed = failedPaths(await mapStatus(map.name));
  const restored: string[] = [];
  for (const path of paths.filter(({ number }) => failed.includes(number))) {
    if ((await diskState(path)) !== 'running') continue;
    if (!mayStill()) break;
    await messageMap(map.name, `reinstate_path ${path.number}`);
    restored.push(path.number);
  }
  return restored;
}

function gone(thrown: unknown): void {
  // ENXIO: the map is; EINVAL: that path is none of it any more.
  if (thrown instanceof SystemCallError && ['ENXIO', 'EINVAL'].includes(thrown.errnoName)) return;
  throw thrown;
}

async function content(path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trim();
}
