import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** A LUN of LIO on loopback, in a guest whose kernel has it. */
export const lioTarget = 'iqn.2026-11.test:lio';
export const lioPort = 3260;
export const lioPortal = `127.0.0.1:${lioPort}`;
export const lioDisk = '/run/lio/disk';
export const lioSerial = 'lio-serial-1';

const config = '/sys/kernel/config/target';
const store = `${config}/core/fileio_0/disk`;
const target = `${config}/iscsi/${lioTarget}`;
const group = `${target}/tpgt_1`;

const machine = `set -e
mount -t configfs none /sys/kernel/config 2>/dev/null || :
mkdir -p ${config} /run/lio
truncate -s 64M ${lioDisk}
mkdir -p "$(cat ${config}/dbroot)/pr" "$(cat ${config}/dbroot)/alua"`;

const backstore = `set -e
mkdir -p ${store}
echo "fd_dev_name=${lioDisk},fd_dev_size=$((64 << 20)),fd_buffered_io=1" > ${store}/control
echo ${lioSerial} > ${store}/wwn/vpd_unit_serial
echo 1 > ${store}/enable`;

const exported = `set -e
mkdir -p ${group}/lun/lun_0
ln -s ${store} ${group}/lun/lun_0/disk
echo 0 > ${group}/attrib/authentication
echo 0 > ${group}/attrib/demo_mode_write_protect
echo 1 > ${group}/attrib/generate_node_acls
echo 1 > ${group}/attrib/cache_dynamic_acls
mkdir -p ${group}/np/${lioPortal}
echo 1 > ${group}/enable`;

const removed = `set -e
echo 0 > ${group}/enable
rmdir ${group}/np/${lioPortal}
rm ${group}/lun/lun_0/disk
rmdir ${group}/lun/lun_0 ${group} ${target} ${store}`;

const shell = (script: string) => execFileSync('sh', ['-c', script], { timeout: 20_000 });

export function startLio(): void {
  shell(machine);
  shell(backstore);
  shell(exported);
}

/**
 * One more LUN of the same target, on a file that is there, of which it may be less than the whole.
 *
 * @param thin it takes discards (UNMAP), which LIO makes holes of
 */
export function addLun(
  lun: number,
  file: string,
  sizeMiB: number,
  { thin = false, serial = `lio-serial-lun-${lun}` } = {},
): void {
  const disk = `${config}/core/fileio_0/disk${lun}`;
  shell(`set -e
mkdir ${disk}
echo "fd_dev_name=${file},fd_dev_size=$((${sizeMiB} << 20)),fd_buffered_io=1" > ${disk}/control
echo ${serial} > ${disk}/wwn/vpd_unit_serial
echo 1 > ${disk}/enable
echo ${thin ? 1 : 0} > ${disk}/attrib/emulate_tpu
mkdir ${group}/lun/lun_${lun}
ln -s ${disk} ${group}/lun/lun_${lun}/disk`);
}

/** One more portal of the same target, in a network namespace: LIO listens in that of who asks for it. */
export function lioPortalIn(namespace: string, portal: string): string {
  const made = ['mkdir', `${group}/np/${portal}`];
  execFileSync('nsenter', [`--net=/run/netns/${namespace}`, ...made], { timeout: 20_000 });
  return portal;
}

/** A target of its own, at the same portal, with LUN 1 and nobody let in. @returns the file behind it */
export function addTarget(name: string): string {
  const short = name.slice(name.lastIndexOf(':') + 1);
  const [file, disk] = [`/run/lio/${short}`, `${config}/core/fileio_1/${short}`];
  const own = `${config}/iscsi/${name}/tpgt_1`;
  shell(`set -e
truncate -s 64M ${file}
mkdir -p ${disk}
echo "fd_dev_name=${file},fd_dev_size=$((64 << 20)),fd_buffered_io=1" > ${disk}/control
echo ${short} > ${disk}/wwn/vpd_unit_serial
echo 1 > ${disk}/enable
mkdir -p ${own}/lun/lun_1 ${own}/np/${lioPortal}
ln -s ${disk} ${own}/lun/lun_1/disk
echo 0 > ${own}/attrib/authentication
echo 1 > ${own}/enable`);
  return file;
}

export const groupOf = (name: string): string => `${config}/iscsi/${name}/tpgt_1`;

/** What a person does by hand (targetcli: acls/ create, luns/ create). */
export function letIn(name: string, initiator: string, { readOnly = false } = {}): void {
  const folder = `${groupOf(name)}/acls/${initiator}/lun_1`;
  shell(`set -e
mkdir -p ${folder}
ln -s ${groupOf(name)}/lun/lun_1 ${folder}/by-hand
echo ${readOnly ? 1 : 0} > ${folder}/write_protect`);
}

/** Initiators that have an ACL with a LUN, as LIO itself tells. */
export function letInBy(name: string): readonly string[] {
  const acls = `${groupOf(name)}/acls`;
  const links = execFileSync('find', [acls, '-maxdepth', '3', '-type', 'l'], { encoding: 'utf8' });
  const names = links
    .split('\n')
    .flatMap((link) => link.slice(acls.length + 1).split('/')[0] || []);
  return [...new Set(names)];
}

/**
 * Tears the whole configuration down and sets it up again, as a restart of the target's service does.
 * Nobody may be logged in.
 *
 * @param kept what it had written to its own disk (`lioPersists`), handed back to it; undefined: nobody does
 */
export function restartLio(kept: string | undefined): void {
  shell(removed);
  shell(backstore);
  enforceIsids(false);
  for (const registration of registrations(kept ?? '')) {
    writeFileSync(`${store}/pr/res_aptpl_metadata`, registration);
  }
  shell(exported);
}

/** As the kernel wants each back: its lines, in one (target_core_configfs.c, res_aptpl_metadata). */
function registrations(text: string): readonly string[] {
  return text
    .split('PR_REG_START: ')
    .slice(1)
    .map((part) => {
      const lines = part.split('\n').slice(1);
      const end = lines.findIndex((line) => line.startsWith('PR_REG_END'));
      return lines.slice(0, end).join(',');
    });
}

interface Account {
  readonly user: string;
  readonly secret: string;
}

/** Who logs in has to prove himself so, and is proven to; undefined: nobody has to. */
export function askForChap(account: Account | undefined, mutual?: Account): void {
  writeFileSync(`${group}/attrib/authentication`, account === undefined ? '0' : '1');
  // LIO takes the word for nothing (iscsi_target_configfs.c).
  const none = { user: 'NULL', secret: 'NULL' };
  for (const [suffix, { user, secret }] of [
    ['', account ?? none],
    ['_mutual', mutual ?? none],
  ] as const) {
    writeFileSync(`${group}/auth/userid${suffix}`, user);
    writeFileSync(`${group}/auth/password${suffix}`, secret);
  }
}

/** Whoever logs in has to have a digest of these; with none, he may. */
export function insistOnDigests(...of: readonly ('HeaderDigest' | 'DataDigest')[]): void {
  for (const name of ['HeaderDigest', 'DataDigest'] as const) {
    writeFileSync(`${group}/param/${name}`, of.includes(name) ? 'CRC32C' : 'CRC32C,None');
  }
}

/** The LUN's file, and what LIO tells of it. */
export function resizeLun(lun: number, file: string, sizeMiB: number): void {
  execFileSync('truncate', ['-s', `${sizeMiB}M`, file]);
  writeFileSync(
    `${config}/core/fileio_0/disk${lun}/control`,
    `fd_dev_size=${sizeMiB * 1024 * 1024}`,
  );
}

/** One more portal of the same target. */
export function addPortal(portal: string): void {
  shell(`mkdir ${group}/np/${portal}`);
}

/** 0: a registration without an ISID is one of every session of that name. */
export function enforceIsids(enforced: boolean): void {
  writeFileSync(`${store}/attrib/enforce_pr_isids`, enforced ? '1' : '0');
}

/** What LIO has written to its own disk, to be read in again after a loss of power. */
export function lioPersists(): string {
  const root = readFileSync(`${config}/dbroot`, 'utf8').trim();
  return readFileSync(`${root}/pr/aptpl_${lioSerial}`, 'utf8');
}
