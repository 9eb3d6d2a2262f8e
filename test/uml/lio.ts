import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

/** A LUN of LIO on loopback, in a guest whose kernel has it. */
export const lioTarget = 'iqn.2026-11.test:lio';
export const lioPortal = '127.0.0.1:3260';
export const lioDisk = '/run/lio/disk';
export const lioSerial = 'lio-serial-1';

const config = '/sys/kernel/config/target';
const store = `${config}/core/fileio_0/disk`;
const group = `${config}/iscsi/${lioTarget}/tpgt_1`;

const setUp = `set -e
mount -t configfs none /sys/kernel/config 2>/dev/null || :
mkdir -p ${config} /run/lio
truncate -s 64M ${lioDisk}
mkdir -p "$(cat ${config}/dbroot)/pr" "$(cat ${config}/dbroot)/alua"
mkdir -p ${store}
echo "fd_dev_name=${lioDisk},fd_dev_size=$((64 << 20)),fd_buffered_io=1" > ${store}/control
echo ${lioSerial} > ${store}/wwn/vpd_unit_serial
echo 1 > ${store}/enable
mkdir -p ${group}/lun/lun_0
ln -s ${store} ${group}/lun/lun_0/disk
echo 0 > ${group}/attrib/authentication
echo 0 > ${group}/attrib/demo_mode_write_protect
echo 1 > ${group}/attrib/generate_node_acls
echo 1 > ${group}/attrib/cache_dynamic_acls
mkdir -p ${group}/np/${lioPortal}
echo 1 > ${group}/enable`;

export function startLio(): void {
  execFileSync('sh', ['-c', setUp]);
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
