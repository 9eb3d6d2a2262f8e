import { mkdir, readdir, readFile, readlink, symlink, unlink, writeFile } from 'node:fs/promises';
import { UnderstudyError } from '../errors.js';
import type { Portals } from './half-login.js';

/**
 * LIO's iSCSI target by its configfs, as targetcli(8) sets it (drivers/target/target_core_fabric_configfs.c
 * and drivers/target/iscsi/iscsi_target_configfs.c of Linux).
 */

export const lioRoot = '/sys/kernel/config/target/iscsi';

/** A LUN as one initiator sees it. */
export interface LioMapping {
  /** By the initiator's count. */
  readonly number: number;
  /** LUN of the portal group that it leads to. */
  readonly lun: number;
  readonly readOnly: boolean;
  /** Path of the link. */
  readonly link: string;
}

/** One initiator that a portal group knows by name. */
export interface LioAcl {
  readonly name: string;
  readonly path: string;
  readonly mappings: readonly LioMapping[];
}

export interface LioGroup {
  readonly path: string;
  /** `tpgt_1` */
  readonly name: string;
  readonly luns: readonly number[];
  readonly acls: readonly LioAcl[];
  /** generate_node_acls: whoever has no ACL gets every LUN. */
  readonly admitsAll: boolean;
  /** Initiators that are in by that now. */
  readonly dynamic: readonly string[];
}

/** Portal groups of a target, with all that may reach a LUN; undefined when there is no such target. */
export async function lioGroups(
  target: string,
  root = lioRoot,
): Promise<readonly LioGroup[] | undefined> {
  const path = `${root}/${target}`;
  const names = await entries(path);
  if (names === undefined) {
    if ((await entries(root)) === undefined) throw noLio(root);
    return undefined;
  }
  const groups = names.filter((name) => /^tpgt_\d+$/.test(name));
  return Promise.all(groups.map((name) => readGroup(`${path}/${name}`, name)));
}

async function readGroup(path: string, name: string): Promise<LioGroup> {
  const [luns, acls, admitsAll, dynamic] = await Promise.all([
    entries(`${path}/lun`),
    entries(`${path}/acls`),
    text(`${path}/attrib/generate_node_acls`),
    text(`${path}/dynamic_sessions`),
  ]);
  return {
    ...{ path, name, admitsAll: admitsAll !== '0' },
    luns: (luns ?? []).flatMap((lun) => numberOf(lun) ?? []),
    acls: await Promise.all((acls ?? []).map((acl) => readAcl(`${path}/acls/${acl}`, acl))),
    // Names, each ended by NUL.
    dynamic: dynamic.split(/[\0\s]+/).filter((word) => word !== ''),
  };
}

async function readAcl(path: string, name: string): Promise<LioAcl> {
  const folders = ((await entries(path)) ?? []).filter((one) => numberOf(one) !== undefined);
  const found = await Promise.all(folders.map((one) => readMapping(`${path}/${one}`)));
  return { name, path, mappings: found.flat() };
}

async function readMapping(folder: string): Promise<readonly LioMapping[]> {
  const number = numberOf(folder.slice(folder.lastIndexOf('/') + 1)) ?? 0;
  const inside = ((await entries(folder)) ?? []).map((name) => `${folder}/${name}`);
  const links = await Promise.all(
    inside.map(async (link) => ({ link, to: await readlink(link).catch(() => undefined) })),
  );
  const readOnly = (await text(`${folder}/write_protect`)) !== '0';
  return links.flatMap(({ link, to }) => {
    const lun = to === undefined ? undefined : numberOf(to.slice(to.lastIndexOf('/') + 1));
    return lun === undefined ? [] : [{ number, lun, readOnly, link }];
  });
}

function numberOf(name: string): number | undefined {
  const digits = /^lun_(\d+)$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Undefined for what is not there (any more). */
async function entries(path: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** '' for what is not there (any more). */
async function text(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw thrown;
  }
}

const accountKeys = ['userid', 'password', 'userid_mutual', 'password_mutual'] as const;

/**
 * Lets an initiator in to some LUNs of a portal group, by the numbers that they have there. Where the group
 * asks for CHAP, by the group's own account: an ACL begins with none, and nobody could log in.
 */
export async function admit(
  group: LioGroup,
  initiator: string,
  luns: readonly number[],
): Promise<void> {
  const path = `${group.path}/acls/${initiator}`;
  await makeFolder(path);
  const asks = (await text(`${group.path}/attrib/authentication`)) !== '0';
  for (const key of asks ? accountKeys : []) {
    const value = await text(`${group.path}/auth/${key}`);
    if (value !== '' && value !== 'NULL') await writeFile(`${path}/auth/${key}`, value);
  }
  for (const lun of luns) {
    const folder = `${path}/lun_${lun}`;
    await makeFolder(folder);
    await symlink(`${group.path}/lun/lun_${lun}`, `${folder}/understudy`);
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
  }
}

/** Takes single LUNs from an initiator that stays. Commands under way are carried out still. */
export async function unmap(mappings: readonly LioMapping[]): Promise<void> {
  for (const { link } of mappings) await unlink(link);
}

/** Where an initiator is logged in from; undefined when it is not. Of several sessions LIO tells the newest. */
export async function sessionAddress(acl: Pick<LioAcl, 'path'>): Promise<string | undefined> {
  const info = await text(`${acl.path}/info`);
  return /^\s+Address (\S+)/m.exec(info)?.[1];
}

/** Where portal groups listen: `np/10.77.0.1:3260`, `np/[::]:3260`. */
export async function lioPortals(groups: readonly Pick<LioGroup, 'path'>[]): Promise<Portals> {
  const found = await Promise.all(groups.map(({ path }) => entries(`${path}/np`)));
  const names = found.flatMap((portals) => portals ?? []);
  return {
    ports: new Set(names.map((name) => Number(name.slice(name.lastIndexOf(':') + 1)))),
    ipv4: names.some((name) => !name.startsWith('[')),
    ipv6: names.some((name) => name.startsWith('[')),
  };
}

function noLio(root: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_TARGET_DAEMON',
    action: 'cannot talk to',
    object: 'the iSCSI target of this kernel (LIO)',
    cause: `there is no ${root}`,
    remedy: 'start target.service (rtslib), or: modprobe iscsi_target_mod, and mount configfs',
  });
}
