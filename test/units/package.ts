import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const script = new URL('../../../scripts/package', import.meta.url).pathname;

/** `scripts/package` into a folder, packed as fast as it goes; resolves with the package's path. */
export async function buildPackage(folder: string, version?: string): Promise<string> {
  const env = {
    ...process.env,
    OUT: folder,
    COMPRESSION: '1',
    ...(version === undefined ? {} : { VERSION: version }),
  };
  const { stdout } = await promisify(execFile)('bash', [script], { env });
  return stdout.trim();
}

/** Where a host sees the upper layer of its own root: what differs from the machine's. */
export const upperLayer = '/upper';

/**
 * Shell: lists every file and empty folder by which a host's root differs from the machine's, with owner,
 * mode and size. Left out is what dpkg, systemd and their logs keep for themselves.
 */
export const listFiles = (file: string) => `cd ${upperLayer}
find . \\( -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache -o -path ./var/tmp -o -path ./tmp \\
    -o -path ./run -o -path ./var/lib/systemd -o -path ./opt/packages \\) -prune \\
  -o -type d -exec sh -c 'for one; do [ -n "$(ls -A "/$one")" ] || ls -ld "/$one"; done' sh {} + \\
  -o -printf '%M %u:%g %s %p %l\\n' | LC_ALL=C sort > ${file}
cd /`;

/**
 * What a sysadmin does on a host, as a unit of the test's own, since a lab wants a host to come up by
 * itself: install the package, configure one file, enable one unit. \`--no-triggers\`: an index of all
 * manual pages of the machine takes longer than all else.
 */
const installing = `[Unit]
After=network.target
ConditionPathExists=!/opt/packages/install.log
[Service]
Type=oneshot
ExecStart=/bin/sh -ec '. /opt/packages/install.sh > /opt/packages/install.log 2>&1'
[Install]
WantedBy=multi-user.target
`;

const installScript = (deb: string) => `
${listFiles('/opt/packages/before')}
dpkg --no-triggers -i /opt/packages/${deb}
cp /opt/packages/agent.yaml /opt/packages/cluster.key /etc/understudy/
systemctl enable --now --no-block understudy-agent
`;

/**
 * Files of a host that installs a package by itself at its first boot; all of ours are in /opt/packages.
 *
 * @param also shell, for after that
 */
export function installAtBoot(root: string, debs: readonly string[], also = ''): void {
  const packages = join(root, 'opt/packages');
  const units = join(root, 'etc/systemd/system');
  for (const folder of [packages, join(units, 'multi-user.target.wants')]) {
    mkdirSync(folder, { recursive: true });
  }
  const names = debs.map((deb) => deb.split('/').at(-1) ?? '');
  for (const deb of debs) cpSync(deb, join(packages, deb.split('/').at(-1) ?? ''));
  writeFileSync(join(packages, 'install.sh'), `${installScript(names[0] ?? '')}${also}`);
  writeFileSync(join(units, 'install-package.service'), installing);
}
