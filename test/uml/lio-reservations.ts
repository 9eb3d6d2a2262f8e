import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'tap';
import { reservationCases } from '../storage/reservation-cases.js';

/** Run in a guest whose kernel has LIO: the compliance suite of reservations against it. */
const target = 'iqn.2026-11.test:lio';
const setUp = `set -e
mount -t configfs none /sys/kernel/config 2>/dev/null || :
config=/sys/kernel/config/target
mkdir -p "$config" /run/lio
truncate -s 64M /run/lio/disk
mkdir -p "$(cat $config/dbroot)/pr" "$(cat $config/dbroot)/alua"
store=$config/core/fileio_0/disk
mkdir -p $store
echo "fd_dev_name=/run/lio/disk,fd_dev_size=$((64 << 20)),fd_buffered_io=1" > $store/control
echo 1 > $store/enable
group=$config/iscsi/${target}/tpgt_1
mkdir -p $group/lun/lun_0
ln -s $store $group/lun/lun_0/disk
echo 0 > $group/attrib/authentication
echo 0 > $group/attrib/demo_mode_write_protect
echo 1 > $group/attrib/generate_node_acls
echo 1 > $group/attrib/cache_dynamic_acls
mkdir -p $group/np/127.0.0.1:3260
echo 1 > $group/enable`;

test('reservations on LIO', async (t) => {
  execFileSync('sh', ['-c', setUp]);
  const world = { portal: '127.0.0.1:3260', target, lun: 0, aborts: true };
  await t.test('as it is', (t) => reservationCases(t, { ...world, byName: false }));
  writeFileSync('/sys/kernel/config/target/core/fileio_0/disk/attrib/enforce_pr_isids', '0');
  await t.test('by name', (t) => reservationCases(t, { ...world, byName: true }));
});
